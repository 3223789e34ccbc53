"""The texts that Faker invents, each provider in a form that is safe to publish: telephone numbers of the range
reserved for fiction, addresses on the internet at domains reserved for examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from faker import Faker

from generation.database.spec import Provider

_TRIES = 200
"""Draws of a text that is new, before it gets a number."""

_PROVIDERS: dict[Provider, Callable[[Faker], str]] = {
    "person": lambda fake: f"{fake.first_name()} {fake.last_name()}",
    "first_name": lambda fake: fake.first_name(),
    "last_name": lambda fake: fake.last_name(),
    "company": lambda fake: f"{fake.last_name()} {fake.company_suffix()}",
    "city": lambda fake: fake.city(),
    "state": lambda fake: fake.state(),
    "country": lambda fake: fake.country(),
    "street_address": lambda fake: f"{fake.building_number()} {fake.street_name()}",
    "postcode": lambda fake: fake.postcode(),
    "phone": lambda fake: f"{fake.random_int(201, 989)}-555-{fake.random_int(100, 199):04d}",
    "job": lambda fake: fake.job(),
    "colour": lambda fake: fake.color_name(),
    "url": lambda fake: f"https://{fake.last_name().lower()}-{fake.word()}.example.com",
    "username": lambda fake: fake.user_name(),
    "licence_plate": lambda fake: fake.bothify("???-####", letters="ABCDEFGHJKLMNPRSTUVWXYZ"),
    "iban": lambda fake: fake.iban(),
    "isbn": lambda fake: fake.isbn13(),
    "sentence": lambda fake: fake.sentence(nb_words=6),
}


def texts(provider: Provider, fake: Faker, count: int, unique: bool) -> Iterator[str]:
    """`count` texts; unique ones differ, and one that is not new after many draws is numbered."""
    draw = _PROVIDERS[provider]
    used: set[str] = set()
    for _ in range(count):
        text = draw(fake)
        for _ in range(_TRIES if unique else 0):
            if text not in used:
                break
            text = draw(fake)
        if unique and text in used:
            text = f"{text} {len(used) + 1}"
        used.add(text)
        yield text
