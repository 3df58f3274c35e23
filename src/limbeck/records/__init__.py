"""What a run leaves behind: records that go to JSON and come back equal, without torch."""

from limbeck.records.codec import (
    decode_plain,
    decode_record,
    encode_record,
    format_of,
    is_sealed,
)
from limbeck.records.files import (
    make_folder,
    write_bytes,
    write_text,
)
from limbeck.records.run_record import (
    FORMAT,
    VERSION,
    Comparison,
    DarkKnowledge,
    DataRecord,
    EarlyExitPoint,
    EarlyExitRecord,
    EpochRecord,
    Measurement,
    NetworkRecord,
    ReliabilityBin,
    RunRecord,
    from_json,
    to_json,
)

__all__ = [
    "FORMAT",
    "VERSION",
    "Comparison",
    "DarkKnowledge",
    "DataRecord",
    "EarlyExitPoint",
    "EarlyExitRecord",
    "EpochRecord",
    "Measurement",
    "NetworkRecord",
    "ReliabilityBin",
    "RunRecord",
    "decode_plain",
    "decode_record",
    "encode_record",
    "format_of",
    "from_json",
    "is_sealed",
    "make_folder",
    "to_json",
    "write_bytes",
    "write_text",
]
