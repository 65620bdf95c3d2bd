//! The options of a node as what a connection is made of.

use bssh_config::ssh_config::{AddressFamily, Ask, HostOptions, StrictHostKeys};
use bssh_ssh::plan::{
    AddToAgent, Address, Algorithms, AuthRules, ConnectPlan, Family, HostKeyPolicy, HostKeyRules,
    Keepalive, ShellCommand, Timeouts, UpdateKeys,
};

/// The plan of one connection; paths in it are as they were written. `shell` is for
/// the commands in it.
pub(crate) fn connect_plan(
    name: &str,
    options: &HostOptions,
    shell: &str,
    cluster: bool,
) -> ConnectPlan {
    let timeout = options.connect_timeout;
    ConnectPlan {
        node: name.to_owned(),
        user: options.user.clone(),
        address: Address {
            host: options.hostname.clone(),
            port: options.port,
            family: match options.address_family {
                AddressFamily::Any => Family::Any,
                AddressFamily::Inet => Family::V4,
                AddressFamily::Inet6 => Family::V6,
            },
            bind: options.bind_address.clone(),
            interface: options.bind_interface.clone(),
        },
        proxy_command: options
            .proxy_command
            .clone()
            .map(|text| ShellCommand { shell: shell.to_owned(), text }),
        host_keys: host_key_rules(options),
        auth: auth_rules(options),
        algorithms: algorithms(options),
        timeouts: Timeouts {
            dial: timeout,
            handshake: timeout,
            // A slow PAM is no reason to give up where ssh would wait.
            auth: timeout.filter(|_| cluster),
        },
        keepalive: Keepalive {
            interval: options.server_alive_interval,
            count: options.server_alive_count_max,
        },
        tcp_keepalive: options.tcp_keep_alive,
        window: None,
        // A thousand nodes have a thousand banners.
        banner: !cluster,
        children: None,
    }
}

fn host_key_rules(options: &HostOptions) -> HostKeyRules {
    let host = options.hostname.to_lowercase();
    let names = match (&options.host_key_alias, options.port) {
        (Some(alias), _) => vec![alias.to_lowercase()],
        (None, 22) => vec![host],
        (None, port) => vec![format!("[{host}]:{port}")],
    };
    HostKeyRules {
        policy: match options.strict_host_key_checking {
            StrictHostKeys::Yes => HostKeyPolicy::Yes,
            StrictHostKeys::No => HostKeyPolicy::No,
            StrictHostKeys::AcceptNew => HostKeyPolicy::AcceptNew,
            // Nobody is there to be asked.
            StrictHostKeys::Ask if options.batch_mode => HostKeyPolicy::Yes,
            StrictHostKeys::Ask => HostKeyPolicy::Ask,
        },
        names,
        alias: options.host_key_alias.is_some(),
        user_files: options.user_known_hosts_files.clone(),
        global_files: options.global_known_hosts_files.clone(),
        command: options.known_hosts_command.clone(),
        children: None,
        revoked: options.revoked_host_keys.clone(),
        hash: options.hash_known_hosts,
        update: match options.update_host_keys {
            Ask::Yes => UpdateKeys::Yes,
            Ask::No => UpdateKeys::No,
            Ask::Ask if options.batch_mode => UpdateKeys::No,
            Ask::Ask => UpdateKeys::Ask,
        },
        skip_loopback: options.no_host_authentication_for_localhost,
        check_ip: options.check_host_ip,
        visual: options.visual_host_key,
        min_rsa_bits: options.required_rsa_size,
        ca_signatures: options.ca_signature_algorithms.clone().unwrap_or_default(),
    }
}

fn auth_rules(options: &HostOptions) -> AuthRules {
    let allowed = |method: &str| match method {
        "publickey" => options.pubkey_authentication,
        "password" => options.password_authentication,
        "keyboard-interactive" => options.kbd_interactive_authentication,
        _ => false,
    };
    AuthRules {
        methods: options.preferred_authentications.iter().filter(|m| allowed(m)).cloned().collect(),
        identities: options.identity_files.clone(),
        identities_named: options.identity_files_explicit,
        certificates: options.certificate_files.clone(),
        identities_only: options.identities_only,
        agent: options.identity_agent.clone(),
        password_prompts: options.number_of_password_prompts,
        batch: options.batch_mode,
        accepted: options.pubkey_accepted_algorithms.clone().unwrap_or_default(),
        min_rsa_bits: options.required_rsa_size,
        add_to_agent: options.add_keys_to_agent.map(|add| AddToAgent {
            ask: add.ask,
            confirm: add.confirm,
            lifetime: add.lifetime,
        }),
    }
}

fn algorithms(options: &HostOptions) -> Algorithms {
    let list = |l: &Option<Vec<String>>| l.clone().unwrap_or_default();
    Algorithms {
        kex: list(&options.kex_algorithms),
        ciphers: list(&options.ciphers),
        macs: list(&options.macs),
        host_keys: list(&options.host_key_algorithms),
        compression: options.compression,
        rekey_bytes: options.rekey_limit.0,
        rekey_time: options.rekey_limit.1,
    }
}
