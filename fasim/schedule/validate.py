"""A schedule that passes here can be read by every reader without a second thought."""

from __future__ import annotations

from fasim.errors import ScheduleError
from fasim.optimizers import PARAMETER_GROUPS
from fasim.schedule import ops as kinds
from fasim.schedule.values import CLASSES, PHASES, STORAGES, Op, Schedule, Value

WITH_SITE = (
    kinds.REQUANT,
    kinds.UPDATE,
    kinds.DROPOUT,
    kinds.SOFTMAX,
    kinds.NORM,
    kinds.NORM_INFERENCE,
    kinds.NORM_BACK,
)
GIVEN = ("state", "input", "previous", "table", "generated")


def validate(schedule: Schedule) -> Schedule:
    """Return the schedule, or say what is wrong with it.

    Checked: kinds and operand counts; classes, storages, phases; shapes of operands; every value is given or written
    before it is read; no version is written twice or after a later one; every reader of version k comes before the write
    of k+1; sites are unique and belong to casts.

    Raises
    ------
    ScheduleError
        With the op and the value at fault.
    """
    for tensor in schedule.tensors.values():
        if tensor.cls not in CLASSES or tensor.storage not in STORAGES:
            raise ScheduleError(f"tensor {tensor.name}: class {tensor.cls!r}, storage {tensor.storage!r} are not known")
        if len(tensor.axes) != len(tensor.shape) and len(tensor.shape) > 2:
            raise ScheduleError(f"tensor {tensor.name}: axes {tensor.axes!r} do not fit shape {tensor.shape}")
    current: dict[str, int] = {t.name: 0 for t in schedule.tensors.values() if t.storage in GIVEN}
    sites: set[str] = set()
    for index, op in enumerate(schedule.ops):
        _check_operands(schedule, index, op)
        for value in (*op.reads, *op.scalars):
            if current.get(value.tensor) != value.version:
                raise ScheduleError(
                    f"op {index} {op.kind} reads {value}, but {_state(current, value)}; order the ops by dependencies"
                )
        for value in op.writes:
            expected = current.get(value.tensor, -1) + 1
            if value.version != expected:
                raise ScheduleError(f"op {index} {op.kind} writes {value}, but version {expected} comes next")
            current[value.tensor] = value.version
        if op.site and op.kind not in WITH_SITE and "accumulator" not in op.attrs:
            raise ScheduleError(
                f"op {index} {op.kind}: has the site {op.site!r}, but only what casts, updates or draws has one"
            )
        if op.site in sites:
            raise ScheduleError(f"op {index} {op.kind}: site {op.site!r} is used twice")
        if op.site:
            sites.add(op.site)
        _check_shapes(schedule, index, op)
    return schedule


def _state(current: dict[str, int], value: Value) -> str:
    if value.tensor not in current:
        return "nothing has written it"
    return f"it stands at version {current[value.tensor]}"


def _check_operands(schedule: Schedule, index: int, op: Op) -> None:
    if op.kind == kinds.SQUARED_NORM:
        return
    if op.kind not in kinds.ARITY:
        raise ScheduleError(f"op {index}: kind {op.kind!r} is not known")
    reads, writes = kinds.ARITY[op.kind]
    if len(op.reads) not in reads or len(op.writes) not in writes:
        raise ScheduleError(f"op {index} {op.kind}: {len(op.reads)} reads and {len(op.writes)} writes do not fit the kind")
    if op.kind == kinds.UPDATE and op.attrs["group"] not in PARAMETER_GROUPS:
        raise ScheduleError(f"op {index} {op.kind}: parameter group {op.attrs['group']!r} is not known")
    if op.phase not in PHASES:
        raise ScheduleError(f"op {index} {op.kind}: phase {op.phase!r} is not known")
    for value in (*op.reads, *op.writes, *op.scalars):
        if value.tensor not in schedule.tensors:
            raise ScheduleError(f"op {index} {op.kind}: there is no tensor {value.tensor!r}")


def _check_shapes(schedule: Schedule, index: int, op: Op) -> None:
    """Check the shapes of dense products and of element-wise ops; maps count as flat rows beside dense layers.

    Those of convolution and pooling come from :mod:`fasim.network`, which has checked them.
    """
    read = [_rows(schedule[value].shape) for value in op.reads]
    wrote = [_rows(schedule[value].shape) for value in op.writes]
    good = True
    match op.kind:
        case kinds.DENSE:
            act, weight, *bias = read
            good = wrote[0] == (act[0], weight[0]) and act[1] == weight[1] and bias in ([], [(weight[0], 1)])
        case kinds.PROJECT:
            signal, matrix = read
            good = signal[1] == matrix[0] and wrote[0] == (signal[0], matrix[1])
        case kinds.PROJECT_UP:
            signal, matrix = read
            good = signal[1] == matrix[1] and wrote[0] == (signal[0], matrix[0])
        case kinds.PROJECT_ELL | kinds.PROJECT_CSR | kinds.SELECT_ELL | kinds.SELECT_CSR:
            units = read[1][0] if len(read) == 3 else read[3][0] - 1
            good = wrote[0] == (read[0][0], units) and read[1] == read[2]
        case kinds.ERROR:
            output, label = read
            good = wrote[0] == output and label == (output[0], 1)
        case kinds.GRAD_BIAS:
            good = schedule[op.writes[0]].shape == schedule[op.reads[0]].shape[-1:]
        case kinds.SELECT:
            label, matrix = read
            good = wrote[0] == (label[0], matrix[1])
        case kinds.GRAD:
            delta, act = read
            good = delta[0] == act[0] and wrote[0] == (delta[1], act[1])
        case kinds.ACTIVATE | kinds.SLOPE | kinds.SIGN | kinds.DELTA | kinds.REQUANT | kinds.MEAN | kinds.CLIP:
            good = all(shape == wrote[0] for shape in read)
        case kinds.RESIDUAL | kinds.SCALE | kinds.DROPOUT | kinds.MASK | kinds.PERTURB:
            good = all(shape == wrote[0] for shape in read)
        case kinds.NORM | kinds.NORM_INFERENCE | kinds.NORM_BACK | kinds.LOOKUP | kinds.SOFTMAX | kinds.AFFINE:
            good = read[0] == wrote[0]
        case kinds.UPDATE:
            good = all(shape == read[0] for shape in (*read, *wrote))
    if not good:
        raise ScheduleError(f"op {index} {op.kind}: shapes {read} -> {wrote} do not fit")


def _rows(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape with all axes after the first as one."""
    columns = 1
    for size in shape[1:]:
        columns *= size
    return (shape[0] if shape else 1, columns)
