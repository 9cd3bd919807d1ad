"""Tables of calls: every kind of argument arrives, failures surface, threads meet, and Python gets control in between."""

from __future__ import annotations

import _thread
import threading
import time

import numpy as np
import pytest
from numba import njit

from fasim.backends import workers
from fasim.backends.table import ByReference, Table
from fasim.backends.workers import GIVE_WAY, Worker
from fasim.kernels import add_exponent, copy_fixed, meet
from fasim.kernels.meet import STOPPED, WORDS


@njit(error_model="numpy", nogil=True)
def note_numbers(seen, a, b, c, d, e, f, flag, nothing, late):
    seen[0], seen[1], seen[2], seen[3], seen[4], seen[5], seen[6] = a, b, c, d, e, f, late
    seen[7] = 1 if flag else 0
    seen[8] = 1 if nothing is None else 0


@njit(error_model="numpy", nogil=True)
def sum_up(array, out):
    rows, columns = array.shape
    out[0] = 0
    for n in range(rows):
        for k in range(columns):
            out[0] += (n * columns + k + 1) * array[n, k]


@njit(error_model="numpy", nogil=True)
def fail_at(step, when, made):
    if step == when:
        raise ValueError("fail_at: this step is the one")
    made[0] += 1


@njit(error_model="numpy", nogil=True)
def fail_once(made):
    made[0] += 1
    if made[0] == 2:
        raise ValueError("fail_once: the second call")


@njit(error_model="numpy", nogil=True)
def returns(array):
    return array[0]


@njit(error_model="numpy", nogil=True)
def write(places, mine, value):
    places[mine] = value


@njit(error_model="numpy", nogil=True)
def compare(places, value, wrong):
    for place in places:
        wrong[0] += place != value


def walk_once(*calls):
    table = Table(calls)
    order, batch, step, position = (
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(2, np.int64),
    )
    assert table.walk(order, 0, 1, 0, batch, step, position, 1000) == 0
    assert position.tolist() == [1, 0]


def worker(*calls, step=None, offset=0, samples=1):
    step = np.zeros(1, np.int64) if step is None else step
    return Worker(Table(calls), offset, np.zeros(samples, np.int64), step)


def test_numbers_arrive_as_they_do_from_python():
    late = np.array([-(1 << 40)], np.int64)
    numbers = (-7, (1 << 63) + 5, np.float32(1.1), -2.5e-300, np.int8(-3), np.uint32((1 << 32) - 1))
    for flag in (False, True, np.bool_(1)):
        seen, expected = np.zeros(9), np.zeros(9)
        note_numbers(expected, *numbers, flag, None, late[0])
        walk_once((note_numbers, (seen, *numbers, flag, None, ByReference(late))))
        assert seen.tolist() == expected.tolist()
        assert seen[6] == -(1 << 40)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_arrays_of_every_layout_arrive(dtype):
    whole = np.arange(60, dtype=dtype).reshape(6, 10)
    fixed = whole[1:5]
    fixed.flags.writeable = False
    for array in (whole, whole.T, whole[1:4, 2:9:3], whole[::-1, ::-2], fixed, whole[:0]):
        found, expected = np.zeros(1), np.zeros(1)
        sum_up(array, expected)
        walk_once((sum_up, (array, found)))
        assert found[0] == expected[0]


def test_a_number_by_reference_is_looked_up_at_every_call():
    step, total = np.zeros(1, np.int64), np.zeros(1, np.int64)
    calls = ((add_exponent, (ByReference(total), 1, step, total)),)
    workers.run([worker(*calls, step=step)], np.zeros(10, np.int64), 1, 5, np.zeros(WORDS, np.int64))
    assert total[0] == sum(range(5, 15))


def test_a_worker_is_told_its_samples():
    order, seen = np.random.default_rng(1).permutation(12), np.zeros((1, 2), np.int64)
    batch, step = np.zeros(2, np.int64), np.zeros(1, np.int64)
    table = Table([(copy_fixed, (batch.reshape(1, 2), seen))])
    workers.run([Worker(table, 1, batch, step)], order, 4, 0, np.zeros(WORDS, np.int64))
    assert seen[0].tolist() == order[9:11].tolist()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ((len, ([],)), "a compiled kernel is needed"),
        ((sum_up, ([[1.0]], np.zeros(1))), "sum_up with list"),
        ((returns, (np.zeros(1),)), "a kernel that returns nothing"),
        ((fail_at, (ByReference(np.zeros(1)), 0, np.zeros(1))), "by reference to float64"),
        ((fail_at, (ByReference(np.zeros(2, np.int64)), 0, np.zeros(1))), "an int64 array of one"),
    ],
)
def test_what_no_table_can_hold_is_refused(call, words):
    with pytest.raises(TypeError, match=words):
        Table([call])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("when", [0, 7])
def test_a_failure_in_a_kernel_surfaces_with_its_own_words(threads, when):
    words, made = np.zeros(WORDS, np.int64), [np.zeros(1, np.int64) for _ in range(threads)]
    gang = []
    for index in range(threads):
        step = np.zeros(1, np.int64)
        fails = when if index == threads - 1 else -1
        calls = ((fail_at, (ByReference(step), fails, made[index])), (meet, (words, threads, GIVE_WAY)))
        gang.append(worker(*calls, step=step))
    with pytest.raises(ValueError, match="this step is the one"):
        workers.run(gang, np.zeros(100, np.int64), 1, 0, words)
    assert made[-1][0] == when
    assert all(when <= count[0] <= when + 1 for count in made)


def test_a_failure_that_does_not_come_again_is_no_success():
    with pytest.raises(RuntimeError, match="fail_once failed in step 1 of the run"):
        workers.run([worker((fail_once, (np.zeros(1, np.int64),)))], np.zeros(5, np.int64), 1, 0, np.zeros(WORDS, np.int64))


@pytest.mark.parametrize("threads", [2, 7])
@pytest.mark.parametrize("give_way", [0, GIVE_WAY], ids=["spin", "give_way"])
def test_threads_see_what_others_wrote_before_they_met(threads, give_way):
    """Also with more threads than cores, and where the system has no way to give way."""
    steps = 200 if give_way else 5
    words, places, wrong = np.zeros(WORDS, np.int64), np.zeros(threads, np.int64), np.zeros((threads, 1), np.int64)
    gang = []
    for index in range(threads):
        step = np.zeros(1, np.int64)
        barrier = (meet, (words, threads, give_way))
        now = ByReference(step)
        calls = ((write, (places, index, now)), barrier, (compare, (places, now, wrong[index])), barrier)
        gang.append(worker(*calls, step=step))
    workers.run(gang, np.zeros(steps, np.int64), 1, 1, words)
    assert wrong.sum() == 0
    assert places.tolist() == [steps] * threads


@pytest.mark.parametrize("threads", [1, 3])
def test_ctrl_c_ends_a_run_between_two_calls(threads):
    words, made = np.zeros(WORDS, np.int64), np.zeros((threads, 1), np.int64)
    gang = []
    for index in range(threads):
        step = np.zeros(1, np.int64)
        calls = ((fail_at, (ByReference(step), -1, made[index])), (meet, (words, threads, GIVE_WAY)))
        gang.append(worker(*calls, step=step))
    order = np.zeros(1 << 26, np.int64)

    def interrupt():
        while made[0, 0] == 0:
            time.sleep(0.001)
        _thread.interrupt_main()

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        workers.run(gang, order, 1, 0, words)
    other.join()
    assert 0 < made.min() <= made.max() < len(order)
    assert made.max() - made.min() <= 1
    assert bool(words[STOPPED]) == (threads > 1)


@pytest.mark.parametrize("size", [1, 2, 3, 1 << 30])
def test_where_python_takes_over_changes_nothing(size, monkeypatch):
    monkeypatch.setattr(workers, "_next", lambda _calls, _seconds: size)
    step, first, second = (np.zeros(1, np.int64) for _ in range(3))
    calls = ((add_exponent, (ByReference(first), 1, step, first)), (add_exponent, (ByReference(first), 1, second, second)))
    workers.run([worker(*calls, step=step)], np.zeros(7, np.int64), 1, 0, np.zeros(WORDS, np.int64))
    sums = [sum(range(n + 1)) for n in range(7)]
    assert first[0] == sums[-1]
    assert second[0] == sum(sums)


def test_calls_between_two_looks_follow_their_time():
    assert workers._next(1, 1e-9) == 2
    assert workers._next(1000, workers.INTERVAL_S) == 1000
    assert workers._next(1000, 10 * workers.INTERVAL_S) == 100
    assert workers._next(1, 100.0) == 1
