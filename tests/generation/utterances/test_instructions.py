"""Which of the user's tools a message tells the user to use: hand-written messages and what each means."""

from __future__ import annotations

from typing import Any

import pytest

from generation.utterances.instructions import Instruction, instructed


def spec(name: str, description: str = "", **parameters: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": parameters, "required": list(parameters)}
    return {"name": name, "description": description, "parameters": schema}


TEXT = {"type": "string"}
MODES = {"anyOf": [{"type": "string", "enum": ["4g_5g_preferred", "4g_only", "2g_only"]}, {"type": "string"}]}
TOOLS = [
    spec("check_status_bar", "Shows the icons at the top of the screen: mobile data, data saver, Wi-Fi, battery."),
    spec("check_network_status", "Shows airplane mode, signal strength, and whether data roaming is enabled."),
    spec("check_network_mode_preference", "Shows the preferred network."),
    spec("set_network_mode_preference", "Changes the preferred network.", mode=MODES),
    spec("run_speed_test", "Measures the speed."),
    spec("toggle_airplane_mode", "Toggles Airplane Mode."),
    spec("toggle_data", "Toggles mobile data."),
    spec("toggle_roaming", "Toggles data roaming."),
    spec("toggle_wifi", "Toggles Wi-Fi."),
    spec("toggle_wifi_calling", "Toggles Wi-Fi Calling."),
    spec("reseat_sim_card", "Takes the SIM card out and puts it back."),
    spec("reset_apn_settings", "Resets the APN settings."),
    spec("set_apn_settings", "Sets the APN settings.", apn_settings={"type": "object"}),
    spec("connect_vpn", "Connects to the VPN."),
    spec("disconnect_vpn", "Leaves the VPN."),
    spec("check_app_permissions", "Shows the permissions of an app.", app_name=TEXT),
    spec("grant_app_permission", "Gives a permission to an app.", app_name=TEXT, permission=TEXT),
    spec("can_send_mms", "Checks whether the app can send MMS messages."),
    spec("reboot_device", "Restarts the phone."),
    spec("make_payment", "Pays the bill that was sent."),
]


def calls(message: str) -> list[tuple[str, dict[str, Any] | None]]:
    return [(use.tool, use.arguments) for use in instructed(message, TOOLS)]


@pytest.mark.parametrize(
    ("message", "tool"),
    [
        ("Please turn off Airplane Mode.", "toggle_airplane_mode"),
        ("Could you turn Wi-Fi Calling off?", "toggle_wifi_calling"),
        ("Please switch on Wi-Fi.", "toggle_wifi"),
        ("Enable mobile data, please.", "toggle_data"),
        ("Turn on data roaming so that mobile data works abroad.", "toggle_roaming"),
        ("I need you to turn on data roaming.", "toggle_roaming"),
        ("Now take it out: re-seat your SIM card.", "reseat_sim_card"),
        ("Remove and reinsert your SIM card.", "reseat_sim_card"),
        ("Then restart your phone.", "reboot_device"),
        ("Turn off the VPN.", "disconnect_vpn"),
        ("Reset your APN settings to the default.", "reset_apn_settings"),
        ("Please pay the bill.", "make_payment"),
        ("What does your status bar show?", "check_status_bar"),
        ("Is Airplane Mode on?", "check_network_status"),
        ("Can you send an MMS now?", "can_send_mms"),
        ("Please run a speed test and tell me the result.", "run_speed_test"),
        ("If Airplane Mode is on, turn it off.", "toggle_airplane_mode"),
        ("**1.** Turn off `Airplane Mode`", "toggle_airplane_mode"),
    ],
)
def test_an_instruction_names_one_tool(message: str, tool: str) -> None:
    assert calls(message) == [(tool, {})]


@pytest.mark.parametrize(
    "message",
    [
        "Do not restart your phone.",
        "There is no need to turn off Airplane Mode.",
        "I will restart your line now.",
        "Airplane Mode blocks mobile data.",
        "Have you turned off Airplane Mode?",
        "Would you like me to reset your APN settings?",
        "Do you want to restart your phone?",
        "If the SIM card is missing, reseat it.",
        "Restart your phone if that does not help.",
        "Please do whatever is needed on your phone so that mobile data works again.",
        "Please fix your settings.",
        "Please check your phone.",
        "Is there anything else I can help you with?",
        "What is your phone number?",
        "You are being transferred to a human agent.",
        "Your roaming has been enabled.",
        "",
    ],
)
def test_what_is_no_instruction_moves_nothing(message: str) -> None:
    assert calls(message) == []


def test_several_instructions_keep_their_order() -> None:
    message = "First, turn off Airplane Mode and restart your phone.\n- Check the status bar\n- Then run a speed test."
    assert [name for name, _ in calls(message)] == [
        "toggle_airplane_mode",
        "reboot_device",
        "check_status_bar",
        "run_speed_test",
    ]


def test_values_are_read_from_the_clause() -> None:
    assert calls("Change the network mode to 4G/5G preferred.") == [
        ("set_network_mode_preference", {"mode": "4g_5g_preferred"})
    ]
    granted = [("grant_app_permission", {"app_name": "messaging", "permission": name}) for name in ("sms", "storage")]
    assert calls("Grant the messaging app the SMS and storage permissions.") == granted
    assert calls("Please grant the SMS permission to the Messaging app.") == granted[:1]
    assert calls("Check which permissions your messaging app has.") == [
        ("check_app_permissions", {"app_name": "messaging"})
    ]


def test_a_missing_value_is_not_invented() -> None:
    assert calls("Please set your APN settings.") == [("set_apn_settings", None)]
    assert calls("Please change the network mode.") == [("set_network_mode_preference", None)]


def test_a_switch_has_a_wanted_state_only_if_it_is_named() -> None:
    assert instructed("Turn mobile data on.", TOOLS) == [Instruction("toggle_data", {}, "on")]
    assert instructed("Toggle mobile data.", TOOLS) == [Instruction("toggle_data", {}, "")]
    assert instructed("Deactivate data roaming.", TOOLS) == [Instruction("toggle_roaming", {}, "off")]


def test_without_tools_nothing_is_instructed() -> None:
    assert instructed("Turn off Airplane Mode.", []) == []
