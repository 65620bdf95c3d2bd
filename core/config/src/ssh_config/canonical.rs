//! `CanonicalizeHostname`: short names completed with domains, aliases followed, numbers made one.

use std::net::{IpAddr, Ipv4Addr};

use super::eval::Evaluation;
use super::patterns::matches_list;
use super::request::{Answer, Found, Lookup};

/// The name to go on with; `asked`: the files are to be read again.
///
/// # Errors
/// The name is not found and `CanonicalizeFallbackLocal` is off.
pub(super) fn canonicalize(
    evaluation: &Evaluation<'_>,
    host: String,
) -> Result<(String, bool), String> {
    let chosen = &evaluation.chosen;
    let mode = chosen.value("canonicalizehostname").unwrap_or("false");
    let asked = mode != "false";
    let address = host.parse::<IpAddr>().ok().or_else(|| parts_of_address(&host).map(IpAddr::V4));
    if let Some(address) = address {
        return Ok((address.to_string(), asked));
    }
    let host = if looks_numeric(&host) { host } else { host.to_ascii_lowercase() };
    let proxied = ["proxyjump", "proxycommand"]
        .iter()
        .any(|name| chosen.value(name).is_some_and(|value| !value.eq_ignore_ascii_case("none")));
    let Some(lookup) = evaluation.request.lookup else { return Ok((host, asked)) };
    if !asked || looks_numeric(&host) || (proxied && mode != "always") {
        return Ok((host, asked));
    }
    if let Some(candidates) = candidates(evaluation, &host) {
        for name in candidates {
            if let Some(found) = ask(lookup, &name)? {
                let full = name.strip_suffix('.').unwrap_or(&name);
                return Ok((follow(evaluation, full, found), asked));
            }
        }
        if chosen.value("canonicalizefallbacklocal") == Some("no") {
            return Err(format!("could not resolve host \"{host}\" in any of CanonicalDomains"));
        }
    }
    // As ssh: the name itself may be an alias that is to be followed.
    if chosen.value("canonicalizepermittedcnames").is_none_or(|first| first == "none") {
        return Ok((host, asked));
    }
    match ask(lookup, &host)? {
        Some(found) => Ok((follow(evaluation, &host, found), asked)),
        None => Ok((host, asked)),
    }
}

/// The names a host may be known by in `CanonicalDomains`, in order; `None`: it has enough dots.
fn candidates(evaluation: &Evaluation<'_>, host: &str) -> Option<Vec<String>> {
    let chosen = &evaluation.chosen;
    let max_dots = chosen.value("canonicalizemaxdots").and_then(|n| n.parse().ok()).unwrap_or(1);
    if host.ends_with('.') {
        return Some(vec![host.to_owned()]);
    }
    if host.matches('.').count() > max_dots {
        return None;
    }
    let domains = chosen.get("canonicaldomains").map(|s| s.values.as_slice());
    let domains = domains.unwrap_or_default().iter().take_while(|d| *d != "none");
    Some(domains.map(|domain| format!("{host}.{domain}.")).collect())
}

fn ask(lookup: &Lookup<'_>, name: &str) -> Result<Option<Found>, String> {
    match lookup(name) {
        Answer::Found(found) => Ok(Some(found)),
        Answer::Missing => Ok(None),
        Answer::Pending => Err(format!("\"{name}\" is not looked up yet")),
    }
}

/// The name an alias stands for, if `CanonicalizePermittedCNAMEs` allows it.
fn follow(evaluation: &Evaluation<'_>, name: &str, found: Found) -> String {
    let cname = found.cname.map(|cname| cname.trim_end_matches('.').to_ascii_lowercase());
    let allowed = cname.filter(|cname| cname != name && permitted(evaluation, name, cname));
    allowed.unwrap_or_else(|| name.to_owned())
}

/// An IPv4 address as inet_aton(3) takes it: one to four numbers, also octal and hexadecimal, the
/// last of which fills what is left.
fn parts_of_address(host: &str) -> Option<Ipv4Addr> {
    let part = |text: &str| match text.strip_prefix('0') {
        _ if !text.bytes().all(|b| b.is_ascii_alphanumeric()) => None,
        Some(hex) if hex.starts_with(['x', 'X']) => u32::from_str_radix(hex.get(1..)?, 16).ok(),
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    };
    let parts = host.split('.').map(part).collect::<Option<Vec<u32>>>()?;
    let (last, first) = parts.split_last()?;
    let left = 32_usize.checked_sub(first.len() * 8).filter(|left| *left > 0)?;
    let fits = first.iter().all(|part| *part < 256) && u64::from(*last) < 1 << left;
    let high = first.iter().fold(0_u64, |high, part| high << 8 | u64::from(*part)) << left;
    fits.then(|| u32::try_from(high).ok().map(|high| Ipv4Addr::from(high | last)))?
}

fn looks_numeric(host: &str) -> bool {
    host.contains(['%', ':']) || host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn permitted(evaluation: &Evaluation<'_>, name: &str, cname: &str) -> bool {
    let rules = evaluation.chosen.get("canonicalizepermittedcnames");
    let rules = rules.map(|s| s.values.as_slice()).unwrap_or_default();
    rules
        .iter()
        .filter_map(|rule| rule.split_once(':'))
        .any(|(from, to)| matches_list(name, from, true) && matches_list(cname, to, true))
}
