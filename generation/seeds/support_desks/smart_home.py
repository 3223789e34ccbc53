"""A smart-home support desk: hubs with lights and radios, and sensors that are paired with them.

The desk sees and changes the account's side (links, pairing windows); only the customer sees lights and presses
buttons. What a light shows follows from both sides.
"""

from __future__ import annotations

from core.policy import Workflow
from generation.seeds.domains.domain import BundledDomain, TableRows
from generation.seeds.domains.draw import Draw
from generation.seeds.support_desks.desk import NUMBER, TEXT, SupportDesk, changes, choice, reads, step

SCHEMA = """
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    customer_name TEXT NOT NULL,
    phone TEXT NOT NULL,
    city TEXT NOT NULL
);
CREATE TABLE hubs (
    hub_id INTEGER PRIMARY KEY,
    hub_serial TEXT NOT NULL UNIQUE,
    customer_id INTEGER NOT NULL REFERENCES customers (customer_id),
    hub_model TEXT NOT NULL,
    cloud_link TEXT NOT NULL CHECK (cloud_link IN ('linked', 'unlinked')),
    power TEXT NOT NULL CHECK (power IN ('on', 'off')),
    wifi_band TEXT NOT NULL CHECK (wifi_band IN ('2.4 GHz', '5 GHz'))
);
CREATE TABLE sensors (
    sensor_id INTEGER PRIMARY KEY,
    sensor_label TEXT NOT NULL UNIQUE,
    hub_id INTEGER NOT NULL REFERENCES hubs (hub_id),
    room TEXT NOT NULL,
    battery_percent INTEGER NOT NULL CHECK (battery_percent BETWEEN 0 AND 100),
    pairing TEXT NOT NULL CHECK (pairing IN ('paired', 'unpaired')),
    pairing_window TEXT NOT NULL CHECK (pairing_window IN ('open', 'closed'))
);
"""
MODELS = ("Hearth One", "Hearth Mini", "Hearth Pro")
ROOMS = ("kitchen", "hallway", "nursery", "garage", "living room", "cellar", "study")
HUBS, SENSORS = 36, 40


def rows(draw: Draw) -> TableRows:
    hubs = []
    for number in range(HUBS):
        link = draw.pick(("linked", "unlinked"))
        power = draw.pick(("on", "off"))
        band = draw.pick(("2.4 GHz", "5 GHz"))
        serial = f"HB-{4100 + 17 * number}"
        hubs.append((serial, draw.number(1, 30), draw.pick(MODELS), link, power, band))
    sensors = []
    for number in range(SENSORS):
        battery = draw.pick((draw.number(1, 14), draw.number(40, 99)))
        label = f"SN-{720 + 13 * number}"
        sensors.append(
            (label, draw.number(1, HUBS), draw.pick(ROOMS), battery, draw.pick(("paired", "unpaired")), "closed")
        )
    customers = [(name, draw.phone(), city) for name, city in zip(draw.people(30), draw.cities(30), strict=True)]
    return {"customers": list(customers), "hubs": list(hubs), "sensors": list(sensors)}


SERIAL = {"serial": {"type": "string", "pattern": r"^HB-\d{4}$", "description": "serial number printed on the hub"}}
LABEL = {"label": {"type": "string", "pattern": r"^SN-\d{3,4}$", "description": "label on the back of the sensor"}}

TOOLS = (
    reads(
        "find_customers_by_phone",
        "Finds customers by their telephone number.",
        {"phone": {"type": "string", "description": "telephone number"}},
        {"customer_id": NUMBER, "customer_name": TEXT, "city": TEXT},
        "SELECT customer_id, customer_name, city FROM customers WHERE phone = :phone",
    ),
    reads(
        "get_hub_account",
        "Shows a hub's model, owner and whether it is linked to the cloud.",
        SERIAL,
        {"hub_id": NUMBER, "hub_model": TEXT, "customer_name": TEXT, "cloud_link": TEXT},
        "SELECT hub_id, hub_model, customer_name, cloud_link FROM hubs JOIN customers USING (customer_id)"
        " WHERE hub_serial = :serial",
    ),
    changes(
        "relink_hub",
        "Links a hub to the cloud again.",
        SERIAL,
        "UPDATE hubs SET cloud_link = 'linked' WHERE hub_serial = :serial AND cloud_link = 'unlinked'",
    ),
    reads(
        "get_sensor_account",
        "Shows a sensor's room, its hub, and whether its pairing window is open.",
        LABEL,
        {"sensor_id": NUMBER, "room": TEXT, "hub_serial": TEXT, "pairing_window": TEXT},
        "SELECT sensor_id, room, hub_serial, pairing_window FROM sensors JOIN hubs USING (hub_id)"
        " WHERE sensor_label = :label",
    ),
    changes(
        "open_pairing_window",
        "Lets a sensor pair with its hub once.",
        LABEL,
        "UPDATE sensors SET pairing_window = 'open' WHERE sensor_label = :label AND pairing_window = 'closed'",
    ),
)
USER_TOOLS = (
    reads(
        "check_hub_light",
        "Shows the colour of your hub's light.",
        SERIAL,
        {"light": TEXT},
        "SELECT CASE WHEN power = 'off' THEN 'off' WHEN wifi_band = '5 GHz' THEN 'red' WHEN cloud_link = 'unlinked'"
        " THEN 'amber' ELSE 'green' END AS light FROM hubs WHERE hub_serial = :serial",
    ),
    changes(
        "plug_in_hub",
        "Plugs your hub into the mains.",
        SERIAL,
        "UPDATE hubs SET power = 'on' WHERE hub_serial = :serial AND power = 'off'",
    ),
    changes(
        "set_hub_wifi_band",
        "Sets the Wi-Fi band on your hub's own page.",
        SERIAL | {"band": choice("2.4 GHz", "5 GHz", description="the Wi-Fi band")},
        "UPDATE hubs SET wifi_band = :band WHERE hub_serial = :serial",
    ),
    reads(
        "check_sensor_battery",
        "Shows the battery level of your sensor, in percent.",
        LABEL,
        {"battery_percent": NUMBER},
        "SELECT battery_percent FROM sensors WHERE sensor_label = :label",
    ),
    changes(
        "replace_sensor_battery",
        "Puts a fresh battery into your sensor.",
        LABEL,
        "UPDATE sensors SET battery_percent = 100 WHERE sensor_label = :label",
    ),
    reads(
        "check_sensor_lamp",
        "Shows whether your sensor's lamp is steady (paired) or blinks (unpaired).",
        LABEL,
        {"lamp": TEXT},
        "SELECT CASE pairing WHEN 'paired' THEN 'steady' ELSE 'blinking' END AS lamp FROM sensors"
        " WHERE sensor_label = :label",
    ),
    changes(
        "press_sensor_button",
        "Presses the button on your sensor; it pairs if the service has opened a pairing window.",
        LABEL,
        "UPDATE sensors SET pairing = 'paired', pairing_window = 'closed' WHERE sensor_label = :label"
        " AND pairing_window = 'open'",
    ),
)
_HUB, _SENSOR = {"serial": "${hub_serial}"}, {"label": "${sensor_label}"}
HUB_OFFLINE = Workflow(
    workflow_id="hub_offline",
    title="A hub is offline in the app",
    table="hubs",
    wish="get the hub {hub_serial} back online",
    goals=(
        "The app says that the user's hub {hub_serial} is offline. The user wants it to be online again.",
        "The user cannot reach the hub {hub_serial} from the app any more and wants to get that solved.",
        "Since yesterday, the user's {hub_model} with the serial number {hub_serial} has been offline. It should work again.",
    ),
    steps=(
        step(
            "light",
            "user",
            "check_hub_light",
            _HUB,
            "Have the user check the hub's light.",
            [("light", "is", "off", "plug"), ("light", "is", "red", "band")],
            "account",
        ),
        step("plug", "user", "plug_in_hub", _HUB, "Have the user plug in the hub.", otherwise="light_on"),
        step(
            "light_on",
            "user",
            "check_hub_light",
            _HUB,
            "Have the user check the hub's light once more.",
            [("light", "is", "red", "band")],
            "account",
        ),
        step(
            "band",
            "user",
            "set_hub_wifi_band",
            _HUB | {"band": "2.4 GHz"},
            "Have the user set the Wi-Fi band of the hub to 2.4 GHz.",
            otherwise="account",
        ),
        step(
            "account",
            "agent",
            "get_hub_account",
            _HUB,
            "Look up the hub's account.",
            [("cloud_link", "is", "unlinked", "relink")],
            "final",
        ),
        step("relink", "agent", "relink_hub", _HUB, "Link the hub to the cloud again.", otherwise="final"),
        step("final", "user", "check_hub_light", _HUB, "Have the user check that the hub's light is green."),
    ),
)
SENSOR_SILENT = Workflow(
    workflow_id="sensor_silent",
    title="A sensor sends nothing",
    table="sensors",
    wish="get readings from the sensor {sensor_label} again",
    goals=(
        "The user's sensor {sensor_label} sends nothing any more. The user wants it to work again.",
        "No readings arrive from the sensor {sensor_label} in the {room}; the user wants that fixed.",
        "The user wants the sensor labelled {sensor_label}, which has gone silent, to send readings again.",
    ),
    steps=(
        step(
            "battery",
            "user",
            "check_sensor_battery",
            _SENSOR,
            "Have the user check the sensor's battery.",
            [("battery_percent", "at_most", 15, "replace")],
            "lamp",
        ),
        step(
            "replace",
            "user",
            "replace_sensor_battery",
            _SENSOR,
            "Have the user replace the sensor's battery.",
            otherwise="lamp",
        ),
        step(
            "lamp",
            "user",
            "check_sensor_lamp",
            _SENSOR,
            "Have the user check the sensor's lamp.",
            [("lamp", "is", "blinking", "window")],
        ),
        step(
            "window",
            "agent",
            "open_pairing_window",
            _SENSOR,
            "Open the pairing window for the sensor.",
            otherwise="button",
        ),
        step(
            "button",
            "user",
            "press_sensor_button",
            _SENSOR,
            "Have the user press the sensor's button.",
            otherwise="lamp_steady",
        ),
        step(
            "lamp_steady", "user", "check_sensor_lamp", _SENSOR, "Have the user check that the sensor's lamp is steady."
        ),
    ),
)
DESK = SupportDesk(
    domain=BundledDomain(
        title="smart-home support",
        description="It helps customers with their hubs and sensors. It sees the accounts, but only the customers can see "
        "and touch their devices.",
        schema=SCHEMA,
        rows=rows,
    ),
    tools=TOOLS,
    user_tools=USER_TOOLS,
    workflows=(HUB_OFFLINE, SENSOR_SILENT),
)
