"""The plan of the exit's rules: what is forbidden, whose packets it speaks of, and its names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.exitplan import (
    FORBIDDEN_V4,
    FORBIDDEN_V6,
    ExitPlan,
    Ipv6Mode,
    Policy,
    forwarding_sysctl,
    is_openable,
    is_private,
    table_interface,
    table_name,
)
from appliance.core.ifnames import is_plain
from appliance.core.ula import tunnel_prefix

POOL = IPv4Network("10.101.0.0/24")
NAME_CHARACTERS = "abcxyzABZ0189_.-"


def rules(interface: str = "sally0", policy: Policy | None = None) -> dict[str, tuple[str, ...]]:
    plan = ExitPlan(interface, POOL, "eth0", policy or Policy())
    return {chain.name: chain.rules for chain in plan.table.chains}


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"),
        *("100.64.0.0", "100.127.255.255", "169.254.169.254", "127.0.0.1", "127.255.255.255"),
        *("fc00::", "fdff:ffff::1", "fe80::1", "febf::1", "::1"),
    ],
)
def test_private_addresses(address: str):
    assert is_private(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
        *("100.63.255.255", "100.128.0.0", "169.253.255.255", "198.18.0.1", "198.51.100.1", "192.0.0.9"),
        *("2001:db8::1", "fbff::1", "fec0::1", "::2"),
    ],
)
def test_addresses_that_a_library_might_call_private(address: str):
    assert not is_private(ip_address(address))


def test_every_forbidden_network_is_in_the_rule_of_its_family():
    v4, v6 = (
        next(rule for rule in rules()["from_clients"] if word in rule) for word in ("ip daddr", "ip6 daddr")
    )
    members = {ip_network(word.strip(" ,")) for rule in (v4, v6) for word in rule.split() if "/" in word}
    assert members == {*FORBIDDEN_V4, *FORBIDDEN_V6}
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"),
        *("224.0.0.0/4", "fc00::/7", "fe80::/10", "ff00::/8"),
    ):
        assert ip_network(text) in members


def test_allowed_networks_are_an_exception_of_their_family():
    policy = Policy(tuple(ip_network(text) for text in ("10.0.5.0/25", "10.0.5.128/25", "fd00:5::/64")))
    v4, v6 = (
        next(rule for rule in rules(policy=policy)["from_clients"] if word in rule)
        for word in ("ip daddr", "ip6 daddr")
    )
    assert "} ip daddr != { 10.0.5.0/24 } counter reject" in v4, "neighbours in one: nft takes no overlap"
    assert "} ip6 daddr != { fd00:5::/64 } counter reject" in v6
    assert not any("!= {" in rule for rule in rules()["from_clients"] if "daddr" in rule)


@pytest.mark.parametrize(
    ("text", "openable"),
    [
        *(("10.0.0.0/8", True), ("172.31.255.255/32", True), ("100.64.0.0/10", True), ("fd00::/8", True)),
        *(("10.0.0.0/7", False), ("169.254.0.0/16", False), ("127.0.0.0/8", False), ("0.0.0.0/0", False)),
        *(("fe80::/10", False), ("::/0", False), ("224.0.0.0/4", False), ("198.51.100.0/24", False)),
    ],
)
def test_what_can_be_opened_by_name(text: str, openable: bool):
    assert is_openable(ip_network(text)) is openable


def test_open_flows_of_one_client_are_counted_in_a_set_of_the_table():
    table = ExitPlan("sally0", POOL, "eth0", Policy(conntrack_per_client=77)).table
    (counted,) = table.sets
    assert counted.words == ("type ipv4_addr", "size 256", "flags dynamic")
    (rule,) = (rule for rule in table.chains[0].rules if "ct count" in rule)
    assert rule.startswith(f"ct state new add @{counted.name} {{ ip saddr ct count over 77 }} counter ")
    assert table.chains[0].rules.index(rule) > 3, "what is refused anyway is not counted"
    wide = ExitPlan("sally0", IPv4Network("10.0.0.0/8"), None).table.sets[0]
    assert "size 65536" in wide.words


def test_an_address_of_its_own_at_the_egress_and_the_hosts_own_elsewhere():
    assert rules()["postrouting"] == ('iifname "sally0" oifname != "sally0" counter masquerade',)
    policy = Policy(nat_address=IPv4Address("203.0.113.5"))
    assert rules(policy=policy)["postrouting"] == (
        'iifname "sally0" oifname "eth0" counter snat ip to 203.0.113.5',
        'iifname "sally0" oifname != "sally0" counter masquerade',
    )
    for egress in (None, 'e"0'):
        with pytest.raises(ValueError, match="--egress"):
            ExitPlan("sally0", POOL, egress, policy)


def test_clients_have_no_ipv6_until_it_is_asked_for():
    plan = ExitPlan("sally0", POOL, "eth0")
    assert plan.prefix_v6 is plan.gateway_v6 is None
    assert "prerouting" not in rules()


def test_all_ipv6_of_clients_is_rejected_before_it_is_routed():
    plan = ExitPlan("sally0", POOL, "eth0", Policy(ipv6="reject"))
    assert plan.prefix_v6 == tunnel_prefix(POOL)
    assert plan.gateway_v6 is not None
    assert str(plan.gateway_v6).endswith("::a65:1/64")
    assert not any("ipv6" in path for path in plan.sysctls), "no setting of IPv6 is touched"
    chain = plan.table.chains[-1]
    assert chain.hook == "type filter hook prerouting priority filter"
    assert chain.rules == (
        'iifname "sally0" meta nfproto ipv6 counter reject with icmpv6 type admin-prohibited comment "ipv6"',
    )


def test_ipv6_is_translated_where_there_is_a_way_out_and_else_rejected():
    nat = Policy(ipv6="nat")
    out = ExitPlan("sally0", POOL, "eth0", nat, egress_v6="eth0")
    assert out.forwards_v6
    assert "prerouting" not in {chain.name for chain in out.table.chains}
    assert [one.words[0] for one in out.table.sets] == ["type ipv4_addr", "type ipv6_addr"]
    assert sum("ct count" in rule for rule in out.table.chains[0].rules) == 2, "each address has its count"
    alone = ExitPlan("sally0", POOL, "eth0", nat)
    assert not alone.forwards_v6
    assert alone.table == ExitPlan("sally0", POOL, "eth0", Policy(ipv6="reject")).table


def test_addresses_of_a_routed_prefix_are_not_translated():
    prefix = IPv6Network("2001:db8:7::/64")
    plan = ExitPlan("sally0", POOL, "eth0", Policy(ipv6=prefix), egress_v6="eth0")
    assert plan.forwards_v6
    assert plan.prefix_v6 == prefix
    assert str(plan.gateway_v6) == "2001:db8:7::a65:1/64"
    (nat,) = (chain for chain in plan.table.chains if chain.name == "postrouting")
    assert nat.rules == ('iifname "sally0" oifname != "sally0" meta nfproto ipv4 counter masquerade',)
    alone = ExitPlan("sally0", POOL, "eth0", Policy(ipv6=prefix))
    assert not alone.forwards_v6
    assert "prerouting" in {chain.name for chain in alone.table.chains}


@pytest.mark.parametrize("mode", ["off", "reject"])
def test_no_way_out_for_what_is_not_to_go_out(mode: Ipv6Mode):
    with pytest.raises(ValueError, match=mode):
        ExitPlan("sally0", POOL, "eth0", Policy(ipv6=mode), egress_v6="eth0")


def test_every_rule_that_refuses_counts_and_says_why():
    plan = ExitPlan("sally0", POOL, "eth0", Policy(ipv6="nat"), egress_v6="eth0", closes_v6=True)
    reject = ExitPlan("sally0", POOL, "eth0", Policy(ipv6="reject"))
    seen = set()
    for chain in (*plan.table.chains, *reject.table.chains):
        for rule in chain.rules:
            if " drop" in rule or " reject " in rule:
                assert " counter " in rule
                seen.add(rule.partition(" comment ")[2].strip('"'))
    assert seen == {
        *("closed_port", "host", "ipv6", "ipv6_of_others", "other_client"),
        *("private_network", "too_many_flows", "uninvited"),
    }


def test_what_a_whole_host_forwards_because_of_us_is_dropped_first():
    plan = ExitPlan("sally0", POOL, "eth0", Policy(ipv6="nat"), egress_v6="eth0", closes_v6=True)
    (forward,) = (chain for chain in plan.table.chains if chain.name == "forward")
    (words, _, _) = forward.rules[0].partition(" comment ")
    assert words == 'meta nfproto ipv6 iifname != "sally0" oifname != "sally0" counter drop'
    assert len(forward.rules) == 3


@pytest.mark.parametrize(
    "address", ["64:ff9b::a00:1", "64:ff9b::c0a8:101", "::ffff:10.0.0.1", "64:ff9b:1::1"]
)
def test_private_ipv4_is_not_reached_through_a_translator(address: str):
    assert any(ip_address(address) in network for network in FORBIDDEN_V6)
    assert not any(ip_address("64:ff9b::808:808") in network for network in FORBIDDEN_V6)


def test_rejected_ports():
    (rule,) = (rule for rule in rules()["from_clients"] if "tcp reset" in rule)
    assert rule.startswith("tcp dport { 25, 465, 587, 2525, 6660-6669, 6697 } ")


def test_base_chains_speak_of_the_tunnel_alone():
    table = ExitPlan("sally0", POOL, "eth0").table
    for chain in table.chains:
        if chain.hook is not None:
            for rule in chain.rules:
                assert rule.startswith(('iifname "sally0" ', 'oifname "sally0" ')), rule


def test_from_client_to_client_is_dropped_before_all_else():
    """Also with a pool of public addresses, and without an answer from the host."""
    assert rules()["from_clients"][0] == 'oifname "sally0" counter drop comment "other_client"'


def test_chains_are_defined_before_they_are_jumped_to():
    seen: set[str] = set()
    for chain in ExitPlan("sally0", POOL, None).table.chains:
        for rule in chain.rules:
            if " jump " in rule:
                assert rule.split()[-1] in seen
        seen.add(chain.name)


def test_settings_are_per_interface():
    assert ExitPlan("sally0", POOL, "eth0.7").sysctls == {
        "net/ipv4/conf/sally0/forwarding": "1",
        "net/ipv4/conf/eth0.7/forwarding": "1",
    }
    several = ExitPlan("sally0", POOL, "eth0", lans=("lan0", "eth0"))
    assert list(several.sysctls) == [forwarding_sysctl(name) for name in ("sally0", "eth0", "lan0")]
    assert ExitPlan("sally0", POOL, None).sysctls == {forwarding_sysctl("sally0"): "1"}


def test_gateway_is_the_first_address():
    assert str(ExitPlan("sally0", POOL, None).gateway) == "10.101.0.1"


@pytest.mark.parametrize("name", ["", "x" * 16, 'a"b', "a b", "sally*", "a/b", ".", "-x", "ä", "a:b", "a\n"])
def test_names_that_would_mean_more_in_a_rule_are_refused(name: str):
    with pytest.raises(ValueError, match="interface name"):
        ExitPlan(name, POOL, None)


def test_a_pool_without_room_is_refused():
    with pytest.raises(ValueError, match="no room"):
        ExitPlan("sally0", IPv4Network("10.1.2.0/31"), None)


@given(st.text(alphabet=NAME_CHARACTERS, min_size=1, max_size=15).filter(is_plain))
def test_a_table_name_can_be_turned_back(name: str):
    """So different interfaces have different tables, also `a-b`, `a.b` and `a_b`."""
    table = table_name(name)
    assert table_interface(table) == name
    assert table.replace("_", "").isalnum()


@pytest.mark.parametrize(
    "table", ["filter", "sallyport", "sallyport_", "sallyport_a-b", "sallyport_a_2", "sallyport_a_20b"]
)
def test_tables_of_others(table: str):
    assert table_interface(table) is None
