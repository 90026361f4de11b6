"""What the command line shows people: progress while it runs, tables after. All of it on stderr,
so that stdout stays free for `--json`."""

from __future__ import annotations

import contextlib
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from stpe.pipeline.progress import Progress as Watcher

if TYPE_CHECKING:
    from stpe.models.inventory import Download, ModelRow
    from stpe.pipeline.report import VideoReport
    from stpe.video.frame import SourceInfo

#: Seconds between two lines where there is no terminal to draw on.
_LINE_EVERY_S = 10.0
#: Columns where there is no terminal: wide enough that no cell is broken.
_PIPE_WIDTH = 1000
#: Characters of a source's address in a line of progress.
_URI_LENGTH = 48


def out(width: int = _PIPE_WIDTH) -> Console:
    """Standard output, of that width where it is no terminal: a row is one line there, however
    long, so that ids are whole."""
    made = Console()
    return made if made.is_terminal else Console(width=width)


def watcher(console: Console) -> Watcher:
    """A live display on a terminal, else a line now and then."""
    return Live(console) if console.is_terminal else Lines(console)


class _Downloads(Watcher):
    """Says once of each download that it began."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._announced: set[str] = set()

    def note(self, line: str) -> None:
        """A line."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def fetching(self, what: str, done: int, total: int | None) -> None:
        """One line a download."""
        with self._lock:
            if what in self._announced:
                return
            self._announced.add(what)
        size = "" if total is None else f" ({total / 1e6:.0f} MB)"
        self._console.print(f"fetching {what}{size}", highlight=False, markup=False)


class _Rate(ProgressColumn):
    """Seconds of video a second, and time left at that rate."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        left = "" if task.time_remaining is None or task.finished else _clock(task.time_remaining)
        return Text(f"{speed:6.2f}x  {left}", style="cyan")


class _Counted(_Downloads):
    """Knows which of how many sources is at work, as words before its name."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._sources = 1
        self._ended = 0

    def sources(self, count: int) -> None:
        """How many there are."""
        self._sources, self._ended = count, 0

    def done(self, report: VideoReport) -> None:
        """One line on how a source ended."""
        # An error's line begins as every error's does.
        place = "" if report.status == "failed" else self._place()
        self._console.print(place + outcome(report), highlight=False, markup=False, soft_wrap=True)
        self._ended += 1

    def _place(self) -> str:
        return f"{self._ended + 1} of {self._sources}: " if self._sources > 1 else ""


class Live(_Counted):
    """A bar for the source and one for each stage at work, with rate (video seconds a second) and
    time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._whole = TaskID(0)
        self._shares: dict[str, float] = {}

    def source(self, info: SourceInfo, stages: Mapping[str, float]) -> None:
        """Begin the display of one source."""
        self.close()
        with self._lock:
            progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                _Rate(),
                console=self._console,
                transient=True,
                refresh_per_second=4,
                speed_estimate_period=60,
            )
            total = info.duration_s
            self._shares = dict(stages)
            name = f"[bold]{self._place()}{escape(_short(info.uri))}"
            self._whole = progress.add_task(name, total=total)
            self._bars = {
                stage: progress.add_task(f"  {stage}", total=total, visible=False)
                for stage in stages
            }
            progress.start()
            self._progress = progress

    def advance(self, stage: str, video_s: float, reused: bool) -> None:
        """Move a stage's bar and the whole's; a stage has a bar while it is at work."""
        if self._progress is not None:
            bar = self._bars[stage]
            self._progress.advance(bar, video_s)
            self._progress.update(bar, visible=not self._progress.tasks[bar].finished)
            self._progress.advance(self._whole, video_s * self._shares[stage])

    def measured(self, duration_s: float) -> None:
        """Correct the totals."""
        if self._progress is not None:
            for bar in (*self._bars.values(), self._whole):
                self._progress.update(bar, total=duration_s)

    def done(self, report: VideoReport) -> None:
        """Clear the display and leave one line."""
        self.close()
        super().done(report)

    def close(self) -> None:
        """Leave the terminal as it was."""
        with self._lock:
            progress, self._progress = self._progress, None
        if progress is not None:
            progress.stop()


class Lines(_Counted):
    """A short line every few seconds: which source, share done, rate and time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._uri = ""
        self._duration_s: float | None = None
        self._shares: dict[str, float] = {}
        self._done_s = self._fresh_s = 0.0
        self._begun = self._said = 0.0

    def source(self, info: SourceInfo, stages: Mapping[str, float]) -> None:
        """Begin one source."""
        with self._lock:
            self._uri, self._duration_s = _short(info.uri), info.duration_s
            self._shares = dict(stages)
            self._done_s = self._fresh_s = 0.0
            self._begun = self._said = time.monotonic()

    def advance(self, stage: str, video_s: float, reused: bool) -> None:
        """Count, and say so now and then."""
        with self._lock:
            self._done_s += video_s * self._shares[stage]
            self._fresh_s += 0.0 if reused else video_s * self._shares[stage]
            now = time.monotonic()
            if now - self._said < _LINE_EVERY_S or not self._fresh_s:
                return
            self._said = now
            line = self._line(now - self._begun)
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def measured(self, duration_s: float) -> None:
        """The true length."""
        with self._lock:
            self._duration_s = duration_s

    def _line(self, elapsed_s: float) -> str:
        rate = self._fresh_s / elapsed_s
        if not self._duration_s:
            return f"{self._place()}{self._uri}: {self._done_s:.0f} s of video, {rate:.2f}x"
        left_s = max(0.0, self._duration_s - self._done_s) / rate
        share = min(1.0, self._done_s / self._duration_s)
        return f"{self._place()}{self._uri}: {share:.0%}, {rate:.2f}x, {_clock(left_s)} left"


def _short(uri: str) -> str:
    """The end of an address, which tells sources apart."""
    return uri if len(uri) <= _URI_LENGTH else f"...{uri[3 - _URI_LENGTH :]}"


def outcome(report: VideoReport) -> str:
    """One line on how a source ended."""
    if report.status == "failed":
        return f"stpe: error: {report.failure}"
    if report.status == "unchanged":
        return f"{report.uri}: nothing to do, the dataset has it already ({report.video_id})"
    warned = "".join(f"; {warning}" for warning in report.warnings)
    if report.change is not None:
        warned = "".join(f"; {line}" for line in report.change.lines()) + warned
    return (
        f"{report.uri}: done in {report.seconds:.1f} s, "
        f"{report.duration_s or 0:.1f} s of video ({report.video_id}){warned}"
    )


def summary(console: Console, result: Any) -> None:
    """The tables after a run: seconds per stage, rows, and what is absent and why."""
    done = [v for v in result.videos if v.status == "done"]
    if done:
        minutes = sum(v.duration_s or 0.0 for v in done) / 60
        table = Table("stage", box=None, pad_edge=False)
        for name in ("seconds", "s / video minute", "windows", "chunks made", "reused"):
            table.add_column(name, justify="right")
        for name in dict.fromkeys(stage.name for v in done for stage in v.stages):
            same = [stage for v in done for stage in v.stages if stage.name == name]
            seconds = sum(s.seconds for s in same)
            table.add_row(
                name,
                f"{seconds:.1f}",
                f"{seconds / minutes:.1f}" if minutes else "",
                str(sum(s.windows for s in same)),
                str(sum(s.made for s in same)),
                str(sum(s.reused for s in same)),
            )
        console.print(table)
        tables = dict.fromkeys(name for v in done for name in v.rows)
        counts = {name: sum(v.rows.get(name, 0) for v in done) for name in tables}
        listed = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        console.print(f"rows: {listed}", highlight=False, soft_wrap=True)
        if minutes:
            wall = sum(v.seconds for v in done)
            console.print(
                f"wall time: {wall:.1f} s, {wall / minutes:.1f} s a video minute", highlight=False
            )
    for stage, reason in result.absent.items():
        console.print(f"absent: {stage}: {reason}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"profile: {result.profile} ({result.profile_reason})",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def plan_table(console: Console, plan: dict[str, Any]) -> None:
    """The plan for people; on stdout, since it is what was asked for. No id is cut or broken."""

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    say(f"{'stage':<20} {'looks at':<26} {'frames':>7} {'seconds':>8}")
    for stage in plan["stages"]:
        name, seconds = f"{stage['stage']} v{stage['version']}", stage["seconds"]
        seen = stage["grid"] or ("whole video" if stage["scope"] == "video" else "rows")
        frames = "" if stage["frames"] is None or not stage["grid"] else str(stage["frames"])
        say(f"{name:<20} {seen:<26} {frames:>7} {'?' if seconds is None else f'{seconds:.1f}':>8}")
        models = [f"{role}={model}" for role, model in stage["models"].items()]
        purpose = [stage["purpose"]] if stage["purpose"] else []
        for title, ids in (
            ("for", purpose), ("models", models), ("reads", stage["reads"]),
            ("writes", stage["writes"]),
        ):  # fmt: skip
            for line in _listed(ids, f"  {title:<6} ", console.width):
                say(line)
    for name, seconds in plan["seconds_beside"].items():
        say(f"{name:<55} {seconds:>8.1f}")
    for name, reason in plan["absent"].items():
        say(f"absent: {name}: {reason}")
    if plan["unasked"]:
        say(f"made only if named: {', '.join(plan['unasked'])}")
    if "change" in plan:
        from stpe.pipeline.change import Change

        for line in Change.load(plan["change"]).lines():
            say(line)
    if plan["seconds"] is not None:
        least = "" if all(s["seconds"] is not None for s in plan["stages"]) else "at least "
        say(f"expected to take {least}about {plan['seconds']:.0f} s, if nothing else is running")


def _listed(ids: Sequence[str], title: str, width: int) -> list[str]:
    """Ids after a title, in lines of at most `width` and 100 characters where no id is longer."""
    if not ids:
        return []
    return textwrap.wrap(
        ", ".join(ids),
        min(max(width, 40), 100),
        initial_indent=title,
        subsequent_indent=" " * len(title),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def models_table(console: Console, rows: Sequence[ModelRow]) -> None:
    """`stpe models list` for people."""
    table = Table(box=None, pad_edge=False)
    for name in ("role", "model", "licence", "MB", "here"):
        table.add_column(name, no_wrap=name in ("role", "model"))
    table.add_column("from", overflow="fold")
    for row in sorted(rows, key=lambda r: (r.role, r.id)):
        licence = f"[yellow]{row.licence}[/]" if row.copyleft else row.licence
        here = "yes" if row.cached else "no"
        table.add_row(row.role, row.id, licence, f"{row.size_mb:.0f}", here, "\n".join(row.sources))
    console.print(table)


def downloads_table(console: Console, rows: Sequence[Download]) -> None:
    """What `stpe models pull` is about to fetch: licences and sizes."""
    table = Table("role", "model", "licence", "MB to fetch", box=None, pad_edge=False)
    for row in rows:
        size = f"{row.bytes / 1e6:,.0f}" if row.bytes else "here"
        table.add_row(row.role, row.model, row.licence, size)
    console.print(table)
    total = sum(row.bytes for row in rows)
    console.print(f"{total / 1e6:,.0f} MB in all", highlight=False)


@contextlib.contextmanager
def downloading(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar a download on a terminal, else a line when each begins."""
    if not console.is_terminal:
        yield _Downloads(console).fetching
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bars:
        tasks: dict[str, TaskID] = {}
        lock = threading.Lock()

        def tell(what: str, done: int, total: int | None) -> None:
            with lock:
                task = tasks.get(what)
                if task is None:
                    task = tasks[what] = bars.add_task(what, total=total)
            bars.update(task, completed=done, total=total)

        yield tell
