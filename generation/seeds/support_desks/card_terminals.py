"""A support desk for card terminals in shops: cables and paper at the counter, contracts and software at the desk."""

from __future__ import annotations

from core.policy import Workflow
from generation.seeds.domains.domain import BundledDomain, TableRows
from generation.seeds.domains.draw import Draw
from generation.seeds.support_desks.desk import NUMBER, TEXT, SupportDesk, changes, reads, step

SCHEMA = """
CREATE TABLE shops (
    shop_id INTEGER PRIMARY KEY,
    shop_name TEXT NOT NULL,
    city TEXT NOT NULL,
    phone TEXT NOT NULL
);
CREATE TABLE terminals (
    terminal_id INTEGER PRIMARY KEY,
    terminal_serial TEXT NOT NULL UNIQUE,
    shop_id INTEGER NOT NULL REFERENCES shops (shop_id),
    counter TEXT NOT NULL,
    merchant_link TEXT NOT NULL CHECK (merchant_link IN ('active', 'blocked')),
    network_cable TEXT NOT NULL CHECK (network_cable IN ('plugged', 'loose')),
    storing_mode TEXT NOT NULL CHECK (storing_mode IN ('on', 'off')),
    paper_roll TEXT NOT NULL CHECK (paper_roll IN ('full', 'empty', 'reversed')),
    software_version TEXT NOT NULL,
    approved_version TEXT NOT NULL,
    update_released TEXT NOT NULL CHECK (update_released IN ('yes', 'no'))
);
"""
KINDS = ("Bakery", "Books", "Flowers", "Cycles", "Pharmacy", "Wine Shop", "Toys")
COUNTERS = ("front counter", "back counter", "terrace", "ground floor", "first floor")
SHOPS, TERMINALS = 24, 40


def rows(draw: Draw) -> TableRows:
    names = draw.companies(SHOPS, KINDS)
    terminals = [
        (
            f"PT-{2300 + 19 * number}",
            draw.number(1, SHOPS),
            draw.pick(COUNTERS),
            draw.pick(("active", "blocked")),
            draw.pick(("plugged", "loose")),
            draw.pick(("on", "off"), (1, 2)),
            draw.pick(("full", "empty", "reversed")),
            draw.pick(("7.2", "7.1", "6.9")),
            "7.2",
            "no",
        )
        for number in range(TERMINALS)
    ]
    shops = [(name, city, draw.phone()) for name, city in zip(names, draw.cities(SHOPS), strict=True)]
    return {"shops": list(shops), "terminals": list(terminals)}


SERIAL = {"serial": {"type": "string", "pattern": r"^PT-\d{4}$", "description": "serial number below the screen"}}

TOOLS = (
    reads(
        "find_shops_by_name",
        "Finds shops by their exact name.",
        {"shop_name": {"type": "string", "description": "name of the shop"}},
        {"shop_id": NUMBER, "city": TEXT, "phone": TEXT},
        "SELECT shop_id, city, phone FROM shops WHERE shop_name = :shop_name",
    ),
    reads(
        "get_terminal_contract",
        "Shows a terminal's shop, whether its merchant link is active, and the approved software version.",
        SERIAL,
        {"terminal_id": NUMBER, "shop_name": TEXT, "merchant_link": TEXT, "approved_version": TEXT},
        "SELECT terminal_id, shop_name, merchant_link, approved_version FROM terminals JOIN shops USING (shop_id)"
        " WHERE terminal_serial = :serial",
    ),
    changes(
        "unblock_merchant_link",
        "Makes a terminal's blocked merchant link active.",
        SERIAL,
        "UPDATE terminals SET merchant_link = 'active' WHERE terminal_serial = :serial AND merchant_link = 'blocked'",
    ),
    changes(
        "release_update",
        "Releases the approved software version for a terminal.",
        SERIAL,
        "UPDATE terminals SET update_released = 'yes' WHERE terminal_serial = :serial AND update_released = 'no'",
    ),
)
USER_TOOLS = (
    reads(
        "check_network_symbol",
        "Shows the network symbol on your terminal: connected or crossed out.",
        SERIAL,
        {"network_symbol": TEXT},
        "SELECT CASE network_cable WHEN 'plugged' THEN 'connected' ELSE 'crossed out' END AS network_symbol"
        " FROM terminals WHERE terminal_serial = :serial",
    ),
    changes(
        "plug_in_network_cable",
        "Pushes the loose network cable into your terminal.",
        SERIAL,
        "UPDATE terminals SET network_cable = 'plugged' WHERE terminal_serial = :serial AND network_cable = 'loose'",
    ),
    reads(
        "check_storing_mode",
        "Shows whether your terminal stores payments instead of sending them.",
        SERIAL,
        {"storing_mode": TEXT},
        "SELECT storing_mode FROM terminals WHERE terminal_serial = :serial",
    ),
    changes(
        "leave_storing_mode",
        "Has your terminal send payments at once again.",
        SERIAL,
        "UPDATE terminals SET storing_mode = 'off' WHERE terminal_serial = :serial AND storing_mode = 'on'",
    ),
    reads(
        "run_test_payment",
        "Makes a test payment of zero on your terminal.",
        SERIAL,
        {"test_payment": TEXT},
        "SELECT CASE WHEN network_cable = 'plugged' AND merchant_link = 'active' AND storing_mode = 'off'"
        " THEN 'approved' ELSE 'declined' END AS test_payment FROM terminals WHERE terminal_serial = :serial",
    ),
    reads(
        "check_paper_roll",
        "Shows the state of your terminal's paper roll: full, empty or reversed.",
        SERIAL,
        {"paper_roll": TEXT},
        "SELECT paper_roll FROM terminals WHERE terminal_serial = :serial",
    ),
    changes(
        "replace_paper_roll",
        "Puts a new paper roll into your terminal.",
        SERIAL,
        "UPDATE terminals SET paper_roll = 'full' WHERE terminal_serial = :serial",
    ),
    changes(
        "turn_paper_roll",
        "Turns a reversed paper roll in your terminal.",
        SERIAL,
        "UPDATE terminals SET paper_roll = 'full' WHERE terminal_serial = :serial AND paper_roll = 'reversed'",
    ),
    reads(
        "check_software_version",
        "Shows the software version of your terminal.",
        SERIAL,
        {"software_version": TEXT},
        "SELECT software_version FROM terminals WHERE terminal_serial = :serial",
    ),
    changes(
        "install_update",
        "Installs the software version that the service has released for your terminal.",
        SERIAL,
        "UPDATE terminals SET software_version = approved_version, update_released = 'no'"
        " WHERE terminal_serial = :serial AND update_released = 'yes'",
    ),
    reads(
        "print_test_receipt",
        "Prints a test receipt on your terminal.",
        SERIAL,
        {"receipt": TEXT},
        "SELECT CASE WHEN paper_roll = 'full' AND software_version = approved_version THEN 'readable' ELSE 'blank' END"
        " AS receipt FROM terminals WHERE terminal_serial = :serial",
    ),
)
_IT = {"serial": "${terminal_serial}"}
PAYMENTS = Workflow(
    workflow_id="payments_declined",
    title="A terminal declines all payments",
    table="terminals",
    wish="take card payments on the terminal {terminal_serial} again",
    goals=(
        "The terminal {terminal_serial} in the user's shop declines every card. The user wants it to take payments again.",
        "No payment goes through on the user's terminal {terminal_serial} at the {counter}; it should work again.",
        "The user wants the card terminal with the serial number {terminal_serial} to accept cards again.",
    ),
    steps=(
        step(
            "network",
            "user",
            "check_network_symbol",
            _IT,
            "Have the user check the network symbol.",
            [("network_symbol", "is", "crossed out", "cable")],
            "contract",
        ),
        step(
            "cable",
            "user",
            "plug_in_network_cable",
            _IT,
            "Have the user plug in the network cable.",
            otherwise="contract",
        ),
        step(
            "contract",
            "agent",
            "get_terminal_contract",
            _IT,
            "Look up the terminal's contract.",
            [("merchant_link", "is", "blocked", "unblock")],
            "storing",
        ),
        step("unblock", "agent", "unblock_merchant_link", _IT, "Make the merchant link active.", otherwise="storing"),
        step(
            "storing",
            "user",
            "check_storing_mode",
            _IT,
            "Have the user check the storing mode.",
            [("storing_mode", "is", "on", "leave")],
            "test",
        ),
        step("leave", "user", "leave_storing_mode", _IT, "Have the user leave the storing mode.", otherwise="test"),
        step("test", "user", "run_test_payment", _IT, "Have the user run a test payment."),
    ),
)
RECEIPTS = Workflow(
    workflow_id="blank_receipts",
    title="A terminal prints blank receipts",
    table="terminals",
    wish="get readable receipts from the terminal {terminal_serial} again",
    goals=(
        "The receipts of the user's terminal {terminal_serial} are blank. The user wants it to print again.",
        "Nothing is printed on the paper of the terminal {terminal_serial} at the {counter}; the user wants that solved.",
        "The user needs readable receipts from the terminal with the serial number {terminal_serial}.",
    ),
    steps=(
        step(
            "paper",
            "user",
            "check_paper_roll",
            _IT,
            "Have the user check the paper roll.",
            [("paper_roll", "is", "empty", "replace"), ("paper_roll", "is", "reversed", "turn")],
            "contract",
        ),
        step(
            "replace", "user", "replace_paper_roll", _IT, "Have the user replace the paper roll.", otherwise="contract"
        ),
        step("turn", "user", "turn_paper_roll", _IT, "Have the user turn the paper roll.", otherwise="contract"),
        step(
            "contract",
            "agent",
            "get_terminal_contract",
            _IT,
            "Look up the terminal's contract.",
            otherwise="version",
        ),
        step(
            "version",
            "user",
            "check_software_version",
            _IT,
            "Have the user check the software version.",
            [("software_version", "is_not", "${approved_version}", "release")],
            "receipt",
        ),
        step("release", "agent", "release_update", _IT, "Release the approved version.", otherwise="install"),
        step("install", "user", "install_update", _IT, "Have the user install the update.", otherwise="receipt"),
        step("receipt", "user", "print_test_receipt", _IT, "Have the user print a test receipt."),
    ),
)
DESK = SupportDesk(
    domain=BundledDomain(
        title="card-terminal support",
        description="It helps shops with their card terminals. It sees contracts and releases software, but only the "
        "people in the shop can see and touch a terminal.",
        schema=SCHEMA,
        rows=rows,
    ),
    tools=TOOLS,
    user_tools=USER_TOOLS,
    workflows=(PAYMENTS, RECEIPTS),
)
