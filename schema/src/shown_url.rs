//! Hides the secrets of a server's address.

/// Returns a server's URL as people may see it: scheme, hosts, ports and path; no user, no password, no parameters.
///
/// Returns `None` where a password may hide in these parts. A `/`, `?`, `#` or `@` in a password must be
/// percent-encoded; unencoded, it moves the rest of the password into the host, the path or the parameters.
pub fn shown_url(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    // `user:pass` without a host reads as a host with a port.
    let is_host = |host: &str| host.ends_with(']') || host.rsplit_once(':').is_none_or(|(_, port)| is_port(port));
    if after.contains('@') || !hosts.split(',').all(is_host) {
        return None;
    }
    let path = after.split(['?', '#']).next().unwrap_or_default();
    Some(format!("{scheme}://{hosts}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_user_password_and_parameters() {
        for (url, shown) in [
            ("postgres://payhook:s3cret@db:5432/payhook?sslkey=s3cret", "postgres://db:5432/payhook"),
            ("postgres://payhook:s3@cret@db/payhook#s3cret", "postgres://db/payhook"),
            ("amqps://u:p%40ss@h1,h2:5673,[::1]:5674/pay?heartbeat=4", "amqps://h1,h2:5673,[::1]:5674/pay"),
            ("amqp://mq", "amqp://mq"),
        ] {
            assert_eq!(shown_url(url).as_deref(), Some(shown));
        }
    }

    #[test]
    fn a_url_in_which_a_password_may_hide_is_not_shown() {
        for odd in ["/", "?", "#", "12/", "12?", "12#", "@/", "?a@"] {
            assert_eq!(shown_url(&format!("postgres://user:{odd}hush@db:5432/payhook")), None, "{odd}");
        }
        assert_eq!(shown_url("amqp://user:hush"), None);
        assert_eq!(shown_url("user:hush@db"), None);
    }
}
