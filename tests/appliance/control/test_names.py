"""Ids and secrets: their form, and that they do not repeat."""

from __future__ import annotations

import re

import pytest

from appliance.control import names


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (names.session_id, r"tb_[a-z0-9]{12}"),
        (names.token_id, r"tk_[a-z0-9]{12}"),
        (names.account_id, r"ac_[a-z0-9]{12}"),
        (names.token_secret, r"sp_[A-Za-z0-9_-]{43}"),
    ],
)
def test_form(make, form):
    made = {make() for _ in range(200)}
    assert len(made) == 200
    assert all(re.fullmatch(form, name) for name in made)
