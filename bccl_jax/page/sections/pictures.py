"""Test pictures worth a look, each with the training pictures that are nearest to it."""

from collections.abc import Iterable

from bccl_jax.page.looking import Neighbour, Shown
from bccl_jax.page.markup import Markup, joined, name, paragraph, tag
from bccl_jax.page.section import Section
from bccl_jax.page.thumbnails import thumbnail
from bccl_jax.page.told import Told
from bccl_jax.system.names import printable


def section(run: Told) -> Section:
    """The section of a run."""
    looked = run.looked
    if looked is None:
        return Section("Pictures", lacking=(f"Pictures: {run.unseen}",))
    judged = looked.details.evaluation.judged
    wrong = int((judged.labels != judged.predictions).sum())
    parts, lacking = [], []
    if looked.mistakes:
        words = f"The {len(looked.mistakes)} most certain of {wrong:,} mistakes in "
        words += f"{len(judged.labels):,} images"
        parts.append(_sheet(words, looked.mistakes, run))
    elif not wrong:
        parts.append(paragraph(f"No mistake in {len(judged.labels):,} images."))
    if looked.tail:
        words = f"The {len(looked.tail)} classes of the fewest training images: of each the test "
        words += "image whose class is the least probable"
        parts.append(_sheet(words, looked.tail, run))
    if looked.compared_with is None:
        lacking.append(f"Nearest training pictures: {looked.without_training}.")
    elif parts:
        some, every = looked.compared_with
        among = f"all {every:,}" if some == every else f"{some:,} of the {every:,}"
        which = "" if some == every else ", those of the classes that are true or predicted here"
        parts.append(
            paragraph(
                "Below each picture the nearest training pictures by the cosine of the backbone's "
                f"features, among {among}{which}. Pictures are shown as the network sees them.",
                class_="note",
            )
        )
    return Section("Pictures", tuple(parts), tuple(lacking))


def _sheet(words: str, shown: Iterable[Shown], run: Told) -> Markup:
    cards = [tag("li", _card(each, run)) for each in shown]
    return joined((paragraph(words, "."), tag("ul", *cards, class_="cards")))


def _card(each: Shown, run: Told) -> Markup:
    true, predicted = (run.class_names[k] for k in (each.label, each.predicted))
    right = each.label == each.predicted
    alt = f"A test picture of {printable(true)}, predicted to be {printable(predicted)}"
    lines = [
        tag("div", "true ", tag("strong", name(true)), f" ({run.class_counts[each.label]:,})"),
        tag(
            "div",
            "right, " if right else "predicted ",
            None if right else tag("strong", name(predicted)),
            None if right else ", ",
            f"{100 * each.confidence:.1f} %",
            class_="right" if right else "wrong",
        ),
    ]
    if not right:
        lines.append(tag("div", f"true class {100 * each.true_probability:.1f} %", class_="quiet"))
    picture = thumbnail(each.image, alt)
    near = tag("ul", *(tag("li", _near(n, run)) for n in each.neighbours), class_="near")
    return tag("figure", picture, tag("figcaption", *lines), near if each.neighbours else None)


def _near(near: Neighbour, run: Told) -> Markup:
    called = run.class_names[near.label]
    alt = f"A training picture of {printable(called)}, cosine {near.cosine:.2f}"
    return joined(
        (
            thumbnail(near.image, alt),
            tag("span", name(called), title=printable(called)),
            tag("span", f"{near.cosine:.2f}", class_="quiet"),
        )
    )
