"""A fitted estimator with ``predict_proba`` as a teacher: scikit-learn, XGBoost, LightGBM, CatBoost, or your own."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.bounds import require_honest_zip, require_plain_file
from limbeck.errors import MissingPackage, TeacherError
from limbeck.inputs import Inputs, describe
from limbeck.teachers.function import FunctionTeacher
from limbeck.teachers.outputs import SMOOTHING

TREE = "sklearn.tree._tree.Tree"  # holds indices alone, which are checked after loading


def is_estimator(thing: object) -> bool:
    """Return whether it offers ``predict_proba``."""
    return callable(getattr(thing, "predict_proba", None))


def estimator_teacher(
    estimator: Any,
    *,
    name: str | None = None,
    version: str | None = None,
    smoothing: float = SMOOTHING,
    content: str | None = None,
    batch_size: int | None = None,
    raw: bool = True,
    transform: Any = None,
) -> FunctionTeacher:
    """Return a fitted estimator as a teacher; its ``predict_proba`` gives probabilities, taken as log p.

    Of independent labels (a list with a column of each label's classes, as scikit-learn's forests give, or a matrix of
    labels, as ``OneVsRestClassifier``) the probability that each is true is taken, as a logit.

    It is shown raw samples as the data set holds them, not normalised, flattened to a float array (batch, features):
    an image of (channels, height, width) becomes channels * height * width features, channels first. Columns follow
    ``classes_``: numbers must be 0, 1, 2, ...; names are put in the data's order.

    Args:
        estimator: fitted.
        name: shown in records; its class's name where not given.
        version: its identity where it cannot be pickled to be hashed.
        smoothing: see :class:`Outputs`: forests give exact zeros.
        content: SHA-256 of the file that it came from.
        batch_size: rows at once.
        raw: False: it was fitted to inputs as the student sees them, normalised.
        transform: of its inputs, before they are flattened.
    Raises:
        TeacherError: classes that are neither 0, 1, 2, ... nor names, or an estimator that cannot be told from another.
    """
    name = name or type(estimator).__name__
    if content is None and version is None:
        content = _content_of(estimator)

    def predict(inputs: Inputs) -> Tensor:
        found = estimator.predict_proba(_features(inputs, name))
        if isinstance(found, list):  # of each label: (batch, 2)
            found = np.stack([_of_true(one, name) for one in found], axis=1)
        return torch.from_numpy(np.asarray(found, dtype=np.float64)).float()

    return FunctionTeacher(
        predict,
        outputs="label_probs" if _has_independent_labels(estimator) else "probs",
        name=name,
        version=version,
        raw=raw,
        smoothing=smoothing,
        batch_size=batch_size,
        transform=transform,
        class_names=_class_names(estimator, name),
        content=content,
    )


def load_estimator(path: Path | str, *, name: str | None = None, smoothing: float = SMOOTHING) -> FunctionTeacher:
    """Return the estimator in a skops file as a teacher; nothing but types that skops trusts, and trees, is loaded.

    Trees are node tables; a forged one could make scikit-learn read outside of it, so every index is checked.

    Args:
        path: of the file.
        name: shown to people; the file's where None.
        smoothing: largest share of a row that exact zeros get, in [0, 1).
    Raises:
        MissingPackage: no skops.
        TeacherError: no such file, types that are not trusted, or a tree whose nodes point outside.
    """
    try:
        import skops.io
    except ImportError as error:
        raise MissingPackage("skops files need skops.", remedy="pip install 'limbeck[sklearn]'") from error
    path = Path(path)
    require_plain_file(path)
    require_honest_zip(path, TeacherError)
    try:
        content = path.read_bytes()
        estimator = skops.io.loads(content, trusted=[TREE])
    except OSError as error:
        raise TeacherError(f"Cannot read {path}.", received=error.strerror, remedy="check the path") from error
    except Exception as error:
        raise TeacherError(
            f"{path} is no skops file of trusted types.",
            received=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
            expected="an estimator that skops.io.dump wrote, of types that skops trusts",
            remedy="where you trust it, load it yourself and pass the estimator in Python",
        ) from error
    for tree in _trees_of(estimator):
        _check_tree(tree, path)
    digest = hashlib.sha256(content).hexdigest()
    return estimator_teacher(estimator, name=name or path.name, content=digest, smoothing=smoothing)


def _features(inputs: Inputs, name: str) -> Any:
    if not isinstance(inputs, Tensor):
        raise TeacherError(
            f"The estimator {name} takes one array.", received=describe(inputs), expected="a tensor (batch, ...)"
        )
    return inputs.cpu().flatten(1).numpy()


def _has_independent_labels(estimator: Any) -> bool:
    classes = getattr(estimator, "classes_", None)
    is_list = isinstance(classes, list) and bool(classes) and np.ndim(classes[0]) == 1
    return is_list or bool(getattr(estimator, "multilabel_", False))


def _of_true(probs: Any, name: str) -> Any:
    if np.ndim(probs) != 2 or np.shape(probs)[1] != 2:
        raise TeacherError(
            f"The estimator {name} has several outputs that are not independent labels.",
            received=f"probabilities of shape {np.shape(probs)} for one of them",
            expected="(batch, 2) for each label: false, true, both of which it was fitted on",
        )
    return probs[:, 1]


def _class_names(estimator: Any, name: str) -> Sequence[str] | None:
    classes = getattr(estimator, "classes_", None)
    if classes is None or _has_independent_labels(estimator):
        return None
    classes = list(classes)
    if all(isinstance(label, str) for label in classes):
        return [str(label) for label in classes]
    if classes != list(range(len(classes))):
        raise TeacherError(
            f"The classes of {name} are not the data's class indices.",
            received=", ".join(str(label) for label in classes[:12]),
            expected="0, 1, 2, ... as in the data, without a gap, or class names",
            remedy="fit it to the class indices or class names of the data",
        )
    return None


def _content_of(estimator: Any) -> str:
    try:
        return hashlib.sha256(pickle.dumps(estimator)).hexdigest()
    except Exception as error:
        raise TeacherError(
            "This estimator cannot be told from another one.",
            received=f"{type(estimator).__name__}, which pickle cannot write: {error}",
            remedy='give it a version: as_teacher(estimator, version="1")',
        ) from error


def _trees_of(estimator: object) -> list[Any]:
    """Return every node table inside an estimator."""
    found, waiting, seen = [], [estimator], set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if f"{type(thing).__module__}.{type(thing).__qualname__}" == TREE:
            found.append(thing)
        elif isinstance(thing, dict):
            waiting += thing.values()
        elif isinstance(thing, (list, tuple, set)) or (isinstance(thing, np.ndarray) and thing.dtype == object):
            waiting += list(thing.ravel() if isinstance(thing, np.ndarray) else thing)
        elif hasattr(thing, "__dict__"):
            waiting += vars(thing).values()
    return found


def _check_tree(tree: Any, path: Path) -> None:
    left, right, features = tree.children_left, tree.children_right, tree.feature
    nodes = np.arange(tree.node_count)
    inner = left != -1
    good = (
        tree.node_count > 0
        and len(left) == tree.node_count
        and bool((right[~inner] == -1).all())
        and bool((left[inner] > nodes[inner]).all() and (left[inner] < tree.node_count).all())
        and bool((right[inner] > nodes[inner]).all() and (right[inner] < tree.node_count).all())
        and bool((features[inner] >= 0).all() and (features[inner] < tree.n_features).all())
        and tree.value.shape[0] == tree.node_count
    )
    if not good:
        raise TeacherError(f"{path} holds a tree whose nodes point outside of it.", remedy="fit the estimator anew")
