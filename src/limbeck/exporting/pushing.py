"""An export's folder to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from limbeck.errors import MissingPackage, OutputError
from limbeck.models.factory import failure


def push_folder(folder: Path, repository: str, *, private: bool = False) -> str:
    """Make a repository where it is missing, and upload the folder as one commit.

    The hub, or a server that speaks like it, is that of ``HF_ENDPOINT``; the token is the user's own, from
    ``huggingface-cli login`` or ``HF_TOKEN``.

    Args:
        folder: what is uploaded.
        repository: OWNER/NAME.
        private: of a new repository.
    Returns:
        The address of the commit.
    Raises:
        MissingPackage: huggingface_hub is not installed.
        OutputError: no login, no network, or a repository that cannot be written. The folder stays as it is.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingPackage("Pushing needs huggingface_hub.", remedy="pip install 'limbeck[hf]'") from error
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=str(folder), commit_message="Upload of limbeck export"
        )
    except Exception as error:
        raise OutputError(
            f"{repository} was not written.",
            received=failure(error)[:300],
            expected="a login with write access: hf auth login, or HF_TOKEN",
            remedy=f"the folder is whole: push {folder} again, or upload it by hand",
        ) from error
    return str(commit.commit_url)
