"""Trained networks as files that run without Limbeck: ONNX, ``torch.export``, folders of timm and transformers."""

from limbeck.exporting.job import ExportJob, export

__all__ = ["ExportJob", "export"]
