"""Claim 4: the registration type means something of its own.

Synthetic intra pairs: validation images under a known smooth motion of their region (breathing, beating, a head that turns), with
fresh noise, contrast and field of view; the target registration error with --mode intra is below that with --mode inter. On real
end-diastole/end-systole pairs Dice(intra) >= Dice(inter): overlap that was bought with roughness does not count (claims.md, yardsticks),
so inter is asked for at the smoothness at which it is as rough as intra is at its own, pair by pair. The line --anatomy liver
--mode intra has rows of its own: liver Dice and error inside the liver on breathing abdomen CTs, against all/inter, the engine alone,
and greedy if its program is named; network only and as the tool runs by default.

usage: type.py                                        table, plot and verdict from the committed rows
       type.py --measure [--weights W] [--greedy COMMAND] [--limit N]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bench
import numpy as np
import peers
import synthetic
import tables
from tables import Row
from type_verdict import AS_ROUGH, INTER, INTRA, draw, judged

from unireg_cli.spatial import Chain, DisplacementField
from unireg_cli.types import Mode

COLUMNS = (
    "weights", "kind", "set", "fixed", "moving", "method", "anatomy", "mode",
    "tre", "tre_liver", "dice", "dice_liver", "sdlogj",
)  # fmt: skip
Way = tuple[str, str, str]
# Different motions of each image.
DRAWS = 2
# (method, anatomy, mode) of the rows; "network" is the network alone, "default" is what the tool does when nothing else is asked for.
KNOWN = (("affine", "", ""), INTER, INTRA)
LINE = (
    ("network", "", "inter"), ("network", "liver", "intra"), ("default", "", "inter"), ("default", "liver", "intra"), ("engine", "", ""),
)  # fmt: skip
# The last is inter where it is as rough as intra; "network" asks for each type at the weights' own smoothness for it.
REAL = (INTER, INTRA, AS_ROUGH)
# Halvings of the range of smoothness in which it is looked for.
_HALVINGS = 10
GREEDY = ("greedy", "", "")


@dataclass(frozen=True, slots=True)
class Measuring:
    """What a measurement needs: the network, and where its data, affines and rows are."""

    judge: bench.Judge
    data: Path
    cache: Path
    results: Path
    limit: int | None
    greedy: str | None

    def missing(self, rows: Sequence[Row], kind: str, names: tuple[str, str, str], wanted: Sequence[Way]) -> list[Way]:
        """What of ``wanted`` has no row of this set, fixed and moving yet."""
        own = [row for row in rows if (row["kind"], row["set"], row["fixed"], row["moving"]) == (kind, *names)]
        there = {(row["method"], row["anatomy"], row["mode"]) for row in own}
        return [each for each in wanted if each not in there]

    def write(self, kind: str, set_name: str, case: bench.Case, what: Way, numbers: tuple[float | str, ...]) -> None:
        """Append one row."""
        cells = (self.judge.sha256, kind, set_name, case.fixed, case.moving, *what, *numbers)
        tables.append_rows(self.results, COLUMNS, [dict(zip(COLUMNS, cells, strict=True))])


def solve(judge: bench.Judge, case: bench.Case, what: Way, greedy: str | None) -> tuple[Chain, DisplacementField | None]:
    """The transform that one method finds."""
    method, anatomy, mode = what
    words = (anatomy,) if anatomy else ()
    if method == "affine":
        return bench.chain_of(case, None), None
    if method == "network":
        return judge.alone(case, words, Mode(mode))
    if method == "greedy":
        assert greedy is not None  # asked for only where it is named
        return peers.greedy_chain(greedy, case), None
    return bench.register(case, words, Mode(mode or "inter"), judge if method == "default" else None)


def measure_known(task: Measuring, listed: bench.PairList) -> None:
    """Synthetic intra pairs of one set, every image of its list under ``DRAWS`` motions."""
    paths = list(dict.fromkeys(path for pair in listed.pairs for path in pair))[: task.limit]
    for number, path in enumerate(paths):
        for draw_number in range(DRAWS):
            names = (listed.name, bench.stem(path), f"motion{draw_number}")
            rows = tables.read_rows(task.results)
            wanted = [("known", what) for what in task.missing(rows, "known", names, KNOWN)]
            if listed.name == "abdomen_ct":
                line = (*LINE, GREEDY) if task.greedy else LINE
                wanted += [("line", what) for what in task.missing(rows, "line", names, line)]
            if wanted:
                seed = 1000 * tables.SETS.index(listed.name) + 10 * number + draw_number
                image, labels = bench.read_labelled(path)
                motion = synthetic.known_motion(listed, labels, np.random.default_rng(seed))
                pair = synthetic.visits(image, labels, motion, seed)
                # In the cache the affine has a name of its own: the images are not the set's.
                case = bench.make_case(f"{listed.name}-known", names[1:], pair.images, pair.labels, task.cache)
                for kind, what in wanted:
                    chain, field = solve(task.judge, case, what, task.greedy)
                    task.write(kind, listed.name, case, what, scores(listed, case, pair, chain, field))
                print(*names, flush=True)


def scores(
    listed: bench.PairList, case: bench.Case, pair: synthetic.Visits, chain: Chain, field: DisplacementField | None
) -> tuple[float | str, ...]:
    """tre, tre_liver, dice, dice_liver, sdlogj; empty where there is no such thing."""
    errors = np.linalg.norm(chain.map(pair.points) - pair.truth, axis=1)
    overlap = bench.dice(case, chain)
    liver = [value for value, name in listed.names.items() if name == "liver"]
    inside = np.isin(pair.at, liver)
    rough: float | str = "" if field is None else bench.roughness(case, field).sdlogj
    return (
        float(errors.mean()),
        float(errors[inside].mean()) if inside.any() else "",
        tables.mean(list(overlap.values())),
        overlap[liver[0]] if liver and liver[0] in overlap else "",
        rough,
    )


def measure_real(task: Measuring) -> None:
    """Both frames of real hearts, told the one type and the other."""
    listed = bench.pair_list(task.data, "cardiac_mr", task.limit)
    rows = tables.read_rows(task.results)
    pairs = [(listed.name, bench.stem(fixed), bench.stem(moving)) for fixed, moving in listed.pairs]
    done = {names[1:] for names in pairs if not task.missing(rows, "real", names, REAL)}
    for case in bench.cases(listed, task.cache, done):
        for what in task.missing(rows, "real", (listed.name, case.fixed, case.moving), REAL):
            if what == AS_ROUGH:
                chain, field = as_rough(task.judge, case)
            else:
                chain, field = solve(task.judge, case, what, None)
            assert field is not None  # a network gives one
            overlap = tables.mean(list(bench.dice(case, chain).values()))
            task.write("real", listed.name, case, what, ("", "", overlap, "", bench.roughness(case, field).sdlogj))
        print(listed.name, case.fixed, case.moving, flush=True)


def as_rough(judge: bench.Judge, case: bench.Case) -> tuple[Chain, DisplacementField]:
    """Inter at the greatest smoothness found at which it is no smoother than intra at its own: SDlogJ falls with the smoothness."""
    rough = bench.roughness(case, judge.alone(case, (), Mode.INTRA)[1]).sdlogj
    low, high = 0.0, 1.0
    found = judge.alone(case, (), Mode.INTER, low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tried = judge.alone(case, (), Mode.INTER, middle)
        if bench.roughness(case, tried[1]).sdlogj >= rough:
            low, found = middle, tried
        else:
            high = middle
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Measure if asked to, then judge."""
    parser = tables.measuring_arguments(__doc__, "type")
    parser.add_argument("--greedy", metavar="COMMAND", help="greedy's program: adds its rows to the owner's line")
    chosen = parser.parse_args(words)
    if chosen.measure:
        bench.use_threads(chosen.threads)
        task = Measuring(bench.load_judge(chosen.weights), chosen.data, chosen.cache, chosen.results, chosen.limit, chosen.greedy)
        tables.of_weights(tables.read_rows(chosen.results), task.judge.sha256, chosen.results)
        for name in chosen.sets:
            measure_known(task, bench.pair_list(chosen.data, name))
        if "cardiac_mr" in chosen.sets:
            measure_real(task)
    rows = tables.read_rows(chosen.results)
    verdict = judged(rows) if rows else None
    picture = chosen.plot or chosen.results.with_suffix(".png")
    return tables.finish(verdict, chosen.results, "--measure", lambda path: draw(rows, path), picture)


if __name__ == "__main__":
    sys.exit(main())
