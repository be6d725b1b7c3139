"""Rows of measurements as tables in Markdown."""
import statistics

import numpy as np

from machine import DISTURBED


def is_ours(peer):
    return peer.startswith("ours")


def number(ms):
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def quiet(row):
    """The rounds in which others left the machine alone; all of them where none was quiet."""
    calm = [ms for ms, others in zip(row["ms"], row["others"]) if others is None or others < DISTURBED]
    return calm or row["ms"]


def median(row):
    return statistics.median(quiet(row)) if row and row["ms"] else None


def was_quiet(row):
    return any(others is None or others < DISTURBED for others in row["others"])


def cell(row):
    if row is None or not (row["ms"] or row["error"]):
        return "–"
    if row["error"]:
        return row.get("word", "fails")
    return (f"{number(median(row))} ({number(row['min_ms'])})" + ("" if was_quiet(row) else " ~")
            + (" once" if len(row["ms"]) == 1 else ""))


def distances(vectors, reference):
    """The worst 1 - cosine with the reference's rows, and the same after the mean row is taken away from both: with random
    weights all vectors look alike, which hides errors before and magnifies them after."""
    if vectors is None or reference is None or vectors.shape != reference.shape:
        return None
    def worst(a, b):
        # By the difference of unit vectors, which is exact where 1 - cosine would round.
        a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (a, b))
        return float((np.square(a - b).sum(1) / 2).max())
    a, b = (np.atleast_2d(np.asarray(m, np.float64)) for m in (vectors, reference))
    # A direction has no scale; unit rows make the means comparable.
    a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (a, b))
    if len(a) < 3:
        return {"distance": worst(a, b), "centred": None}
    return {"distance": worst(a, b), "centred": worst(a - a.mean(0), b - b.mean(0))}


def check(rows, reference):
    """Adds "check" to the rows and takes the vectors off. `reference`: a peer's name, or {job: vectors}."""
    if isinstance(reference, str):
        reference = {row["job"]: row["vectors"] for row in rows if row["peer"] == reference}
    for row in rows:
        row["check"] = distances(row["vectors"], reference.get(row["job"]))
        del row["vectors"]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def worst(rows, what):
    found = [row["check"][what] for row in rows if row.get("check") and row["check"][what] is not None]
    return f"{max(found):.0e}" if found else "–"


def ratio(at, mine, theirs):
    ours, other = median(at.get(mine)), median(at.get(theirs))
    if not ours or not other:
        return "–"
    return f"{ours / other:.2f}" + ("" if was_quiet(at[mine]) and was_quiet(at[theirs]) else " ~")


def section(title, rows, kinds, unit="ms"):
    """Two tables: the times, and what share of each peer's time ours take."""
    if not rows:
        return f"## {title}\n\nnothing measured\n"
    threads = rows[0]["threads"]
    jobs, peers = (list(dict.fromkeys(row[key] for row in rows)) for key in ("job", "peer"))
    peers.sort(key=is_ours)
    at = {job: {row["peer"]: row for row in rows if row["job"] == job} for job in jobs}
    out = [f"## {title}, {threads} thread{'s' if threads > 1 else ''}", "", f"Median of the rounds (minimum of all calls), {unit}.", "",
           line(["peer", *jobs, "1 − cosine", "centred", "cores used"]), "|---" * (len(jobs) + 4) + "|"]
    for peer in peers:
        of = [row for row in rows if row["peer"] == peer]
        cells = [cell(at[job].get(peer)) for job in jobs]
        cores = max((row["cores"] for row in of if row["ms"]), default=None)
        out.append(line([peer, *cells, worst(of, "distance"), worst(of, "centred"), f"{cores:.1f}" if cores else "–"]))
    mine = [peer for peer in peers if is_ours(peer) and any(median(at[job].get(peer)) for job in jobs)]
    others = [peer for peer in peers if not is_ours(peer)]
    if mine and others:
        out += ["", "Ours as a share of theirs: " + ", ".join(mine) + ".", "", line(["peer", *jobs]),
                "|---" * (len(jobs) + 1) + "|"]
        for peer in others:
            out.append(line([peer] + [", ".join(ratio(at[job], m, peer) for m in mine) for job in jobs]))
        found = {kinds.get(peer, "f32") for peer in others}
        for name, among in ((("best f32", {"f32"}),) if found != {"f32"} else ()) + (("best of all", found),):
            cells = []
            for job in jobs:
                best = min((p for p in others if kinds.get(p, "f32") in among and median(at[job].get(p))),
                           key=lambda p: median(at[job][p]), default=None)
                cells.append(", ".join(ratio(at[job], m, best) for m in mine) + f" ({best})" if best else "–")
            out.append(line([f"**{name}**", *cells]))
    return "\n".join(out + errors(rows)) + "\n"


def errors(rows):
    """A line for each reason, with the peers and jobs that it stopped."""
    found = {}
    for row in rows:
        if row["error"]:
            found.setdefault((row["peer"], " ".join(row["error"].split())), []).append(row["job"])
    return [""] * bool(found) + [f"* {peer}, {', '.join(jobs)}: {why}" for (peer, why), jobs in found.items()]
