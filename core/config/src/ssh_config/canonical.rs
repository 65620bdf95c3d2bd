//! `CanonicalizeHostname`: short names completed with domains, aliases followed, numbers made one.

use std::net::IpAddr;

use super::eval::Evaluation;
use super::patterns::matches_list;
use super::request::Found;

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
    if let Ok(address) = host.parse::<IpAddr>() {
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
    let max_dots = chosen.value("canonicalizemaxdots").and_then(|n| n.parse().ok()).unwrap_or(1);
    let anchored = host.ends_with('.');
    if !anchored && host.matches('.').count() > max_dots {
        return Ok((host, asked));
    }
    let candidates: Vec<String> = if anchored {
        vec![host.clone()]
    } else {
        let domains = chosen.get("canonicaldomains").map(|s| s.values.as_slice());
        let domains = domains.unwrap_or_default().iter().take_while(|d| *d != "none");
        domains.map(|domain| format!("{host}.{domain}.")).collect()
    };
    for name in candidates {
        if let Some(Found { cname }) = lookup(&name) {
            let full = name.strip_suffix('.').unwrap_or(&name);
            let followed = cname.filter(|cname| permitted(evaluation, full, cname));
            return Ok((followed.unwrap_or_else(|| full.to_owned()), asked));
        }
    }
    match chosen.value("canonicalizefallbacklocal") {
        Some("no") => Err(format!("could not resolve host \"{host}\" in any of CanonicalDomains")),
        _ => Ok((host, asked)),
    }
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
