"""``headgate global-concurrency-limit``, ``headgate gcl`` for short."""

from __future__ import annotations

from collections.abc import Sequence

import click

from headgate.cli import output
from headgate.cli.app import App, pass_app
from headgate.cli.output import Cell, Format
from headgate.core.concurrency import ConcurrencyLimit, SlotLease


@click.group("global-concurrency-limit")
def global_concurrency_limit() -> None:
    """Limit how many of something are used at once, across all runs."""


@global_concurrency_limit.command()
@output.format_option
@pass_app
def ls(app: App, format: Format) -> None:
    """List the limits, those of tags included, and how many slots are in use."""
    with app.client() as client:
        limits = client.read_global_concurrency_limits()
    if format == "json":
        output.write_json(limits)
        return
    now = app.clock.now()
    rows = [
        [
            limit.name,
            Cell.of("active", "green") if limit.active else Cell.of("disabled", "yellow"),
            str(limit.limit),
            str(limit.active_slots),
            str(limit.waiting),
            f"{limit.slot_decay_per_second:g}" if limit.slot_decay_per_second else "",
            output.ago(limit.update_time, now),
        ]
        for limit in limits
    ]
    columns = ["name", "state", "limit", "in use", "waiting", "decay/s", "updated"]
    numbers = ["limit", "in use", "waiting", "decay/s"]
    empty = "There are no concurrency limits."
    output.write_table(columns, rows, empty=empty, numbers=numbers)


@global_concurrency_limit.command()
@click.argument("name")
@output.format_option
@pass_app
def inspect(app: App, name: str, format: Format) -> None:
    """Show a limit, who holds its slots, and who waits for them."""
    with app.client() as client:
        limit = client.read_global_concurrency_limit_by_name(name)
        leases = client.read_slot_leases(name, include_waiting=True)
    write(app, limit, leases, format)


@global_concurrency_limit.command()
@click.argument("name")
@click.option("-l", "--limit", type=click.IntRange(0), required=True, help="How many slots.")
@click.option("--disable", is_flag=True, help="It does not limit until it is enabled.")
@click.option(
    "--slot-decay-per-second",
    type=click.FloatRange(0),
    default=0.0,
    help="How many slots come back per second after rate_limit took them.",
)
@pass_app
def create(app: App, name: str, limit: int, disable: bool, slot_decay_per_second: float) -> None:
    """Make a limit."""
    with app.client() as client:
        client.create_global_concurrency_limit(
            name, limit, active=not disable, slot_decay_per_second=slot_decay_per_second
        )
    use = "rate_limit" if slot_decay_per_second else "concurrency"
    click.echo(
        f"Made the concurrency limit {name!r}. Use it: from headgate.concurrency.sync import {use}"
    )


@global_concurrency_limit.command()
@click.argument("name")
@click.option("-l", "--limit", type=click.IntRange(0), help="How many slots.")
@click.option("--enable/--disable", "active", default=None, help="Whether it limits.")
@click.option(
    "--slot-decay-per-second",
    type=click.FloatRange(0),
    help="How many slots come back per second after rate_limit took them.",
)
@pass_app
def update(
    app: App,
    name: str,
    limit: int | None,
    active: bool | None,
    slot_decay_per_second: float | None,
) -> None:
    """Change a limit. Slots that are held stay held, also above a lower limit."""
    if limit is None and active is None and slot_decay_per_second is None:
        msg = "Say what to change: --limit, --enable, --disable or --slot-decay-per-second."
        raise click.UsageError(msg)
    with app.client() as client:
        client.update_global_concurrency_limit(
            name, limit=limit, active=active, slot_decay_per_second=slot_decay_per_second
        )
    click.echo(f"Changed the concurrency limit {name!r}.")


@global_concurrency_limit.command()
@click.argument("name")
@pass_app
def delete(app: App, name: str) -> None:
    """Delete a limit. Who waits for its slots waits no longer."""
    with app.client() as client:
        client.delete_global_concurrency_limit_by_name(name)
    click.echo(f"Deleted the concurrency limit {name!r}.")


@global_concurrency_limit.command()
@click.argument("name")
@pass_app
def enable(app: App, name: str) -> None:
    """Let a limit limit."""
    with app.client() as client:
        client.update_global_concurrency_limit(name, active=True)
    click.echo(f"Enabled the concurrency limit {name!r}.")


@global_concurrency_limit.command()
@click.argument("name")
@pass_app
def disable(app: App, name: str) -> None:
    """Let a limit not limit, until it is enabled."""
    with app.client() as client:
        client.update_global_concurrency_limit(name, active=False)
    click.echo(f"Disabled the concurrency limit {name!r}. Enable it: headgate gcl enable {name}")


@global_concurrency_limit.command()
@click.argument("name")
@pass_app
def reset(app: App, name: str) -> None:
    """Free all slots of a limit, for when their holders are known to be gone."""
    with app.client() as client:
        client.reset_global_concurrency_limit_by_name(name)
    click.echo(f"Freed all slots of the concurrency limit {name!r}.")


#: The same under its short name.
gcl = click.Group(
    "gcl", commands=global_concurrency_limit.commands, help=global_concurrency_limit.help
)


def write(app: App, limit: ConcurrencyLimit, leases: Sequence[SlotLease], format: Format) -> None:
    """Write a limit with who holds its slots and who waits for them."""
    now = app.clock.now()
    holders: object = leases
    if format != "json":
        holders = [
            f"{_holder(lease)}: {lease.slots} {'slots' if lease.slots > 1 else 'slot'}, "
            f"{'waiting since' if lease.waiting else 'since'} {output.ago(lease.acquire_time, now)}"
            for lease in leases
        ]
    facts = {
        "name": limit.name,
        "limit": limit.limit,
        "active": limit.active,
        "active_slots": limit.active_slots,
        "waiting": limit.waiting,
        "slot_decay_per_second": limit.slot_decay_per_second,
        "created": limit.create_time,
        "updated": limit.update_time,
        "id": limit.id,
        "holders": holders,
    }
    output.write_record(facts, format)


def _holder(lease: SlotLease) -> str:
    kind = lease.holder.type.replace("_", " ")
    return " ".join(part for part in (kind, lease.holder.id) if part) or "somebody"
