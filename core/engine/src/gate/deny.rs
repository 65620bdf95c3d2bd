//! Where a name may not lead (`deny_addrs`): classes of addresses by their words, and networks.

use bssh_protocol::gate::GateSpec;
use std::net::IpAddr;

/// One element of `deny_addrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Loopback,
    LinkLocal,
    Multicast,
    Unspecified,
    /// RFC 1918 and ULA.
    Private,
    Net(IpAddr, u8),
}

const WORDS: &[(&str, Rule)] = &[
    ("loopback", Rule::Loopback),
    ("link-local", Rule::LinkLocal),
    ("multicast", Rule::Multicast),
    ("unspecified", Rule::Unspecified),
    ("private", Rule::Private),
];

impl Rule {
    /// A word, or a network such as `192.0.2.0/24`; an address alone is a network of one.
    pub(super) fn parse(text: &str) -> Option<Rule> {
        if let Some((_, rule)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Some(*rule);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, bits.parse().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, width(address))
            }
        };
        (bits <= width(address)).then_some(Rule::Net(address, bits))
    }

    fn covers(self, address: IpAddr) -> bool {
        match (self, address) {
            (Rule::Loopback, address) => address.is_loopback(),
            (Rule::Multicast, address) => address.is_multicast(),
            (Rule::LinkLocal, IpAddr::V4(v4)) => v4.is_link_local() || v4.is_broadcast(),
            (Rule::LinkLocal, IpAddr::V6(v6)) => v6.is_unicast_link_local(),
            // All of 0.0.0.0/8 is this host.
            (Rule::Unspecified, IpAddr::V4(v4)) => v4.octets().first() == Some(&0),
            (Rule::Unspecified, IpAddr::V6(v6)) => v6.is_unspecified(),
            (Rule::Private, IpAddr::V4(v4)) => v4.is_private(),
            (Rule::Private, IpAddr::V6(v6)) => v6.is_unique_local(),
            (Rule::Net(IpAddr::V4(net), bits), IpAddr::V4(v4)) => {
                let differ = net.to_bits() ^ v4.to_bits();
                differ.checked_shr(32 - u32::from(bits)).unwrap_or_default() == 0
            }
            (Rule::Net(IpAddr::V6(net), bits), IpAddr::V6(v6)) => {
                let differ = net.to_bits() ^ v6.to_bits();
                differ.checked_shr(128 - u32::from(bits)).unwrap_or_default() == 0
            }
            (Rule::Net(..), _) => false,
        }
    }

    fn name(self) -> String {
        match self {
            Rule::Loopback => "a loopback address".to_owned(),
            Rule::LinkLocal => "a link-local address".to_owned(),
            Rule::Multicast => "a multicast address".to_owned(),
            Rule::Unspecified => "an unspecified address".to_owned(),
            Rule::Private => "a private address".to_owned(),
            Rule::Net(net, bits) => format!("in {net}/{bits}"),
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Why a name may not lead to this address.
pub(super) fn denied(address: IpAddr, spec: &GateSpec) -> Option<String> {
    let address = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        v4 => v4,
    };
    let private = spec.deny_private.then_some(Rule::Private);
    let mut rules = spec.deny_addrs.iter().filter_map(|text| Rule::parse(text)).chain(private);
    rules.find(|rule| rule.covers(address)).map(Rule::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_not_lead_home() {
        let open = GateSpec::default();
        let strict = GateSpec { deny_private: true, ..GateSpec::default() };
        let words = |words: &[&str]| GateSpec {
            deny_addrs: words.iter().map(|word| (*word).to_owned()).collect(),
            ..GateSpec::default()
        };
        let none = words(&[]);
        let nets = words(&["192.0.2.0/24", "2001:db8::/32", "198.51.100.7", "private"]);
        for (address, spec, ok) in [
            ("127.0.0.1", &open, false),
            ("::1", &open, false),
            ("::ffff:127.0.0.1", &open, false),
            ("169.254.169.254", &open, false),
            ("fe80::1", &open, false),
            ("0.0.0.0", &open, false),
            ("0.1.2.3", &open, false),
            ("224.0.0.1", &open, false),
            ("ff02::1", &open, false),
            ("10.0.0.1", &open, true),
            ("fd00::1", &open, true),
            ("10.0.0.1", &strict, false),
            ("192.168.3.4", &strict, false),
            ("fd00::1", &strict, false),
            ("192.0.2.1", &strict, true),
            ("127.0.0.1", &none, true),
            ("192.0.2.1", &nets, false),
            ("::ffff:192.0.2.1", &nets, false),
            ("192.0.3.1", &nets, true),
            ("2001:db8:1::1", &nets, false),
            ("2001:db9::1", &nets, true),
            ("198.51.100.7", &nets, false),
            ("198.51.100.8", &nets, true),
            ("10.1.1.1", &nets, false),
            ("127.0.0.1", &nets, true),
        ] {
            assert_eq!(denied(address.parse().unwrap(), spec).is_none(), ok, "{address}");
        }
    }

    #[test]
    fn what_is_no_rule_is_none() {
        for bad in ["", "home", "192.0.2.0/33", "2001:db8::/129", "192.0.2/24", "x/8", "10.0.0.0/"]
        {
            assert_eq!(Rule::parse(bad), None, "{bad}");
        }
        assert!(Rule::parse("0.0.0.0/0").unwrap().covers("9.9.9.9".parse().unwrap()));
    }
}
