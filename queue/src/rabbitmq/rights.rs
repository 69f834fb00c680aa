//! The rights that each role needs on the broker, and no more: users of the definitions file.

use serde_json::{Value, json};

/// The least rights of one role's user: regular expressions over names of queues and exchanges.
struct Rights {
    user: &'static str,
    configure: &'static str,
    write: &'static str,
    read: &'static str,
}

const NOTHING: &str = "^$";
const OURS: &str = r"^payhook\.";

const RIGHTS: [Rights; 4] = [
    Rights { user: "payhook-ingress", configure: NOTHING, write: r"^payhook\.notifications$", read: NOTHING },
    Rights {
        user: "payhook-worker",
        configure: NOTHING,
        write: r"^payhook\.(notifications|events|dead|retry\.[0-9]+[smh])$",
        read: r"^payhook\.(notifications|dead|unrouted)$",
    },
    Rights { user: "payhook-console", configure: NOTHING, write: r"^payhook\.notifications$", read: NOTHING },
    Rights { user: "payhook-migrate", configure: OURS, write: OURS, read: OURS },
];

/// The users, without passwords: nobody can log in as one before it is given its own.
pub(super) fn users() -> Vec<Value> {
    let user = |rights: &Rights| json!({ "name": rights.user, "password_hash": "", "tags": "" });
    RIGHTS.iter().map(user).collect()
}

pub(super) fn permissions(vhost: &str) -> Vec<Value> {
    let permission = |rights: &Rights| {
        let Rights { user, configure, write, read } = rights;
        json!({ "user": user, "vhost": vhost, "configure": configure, "write": write, "read": read })
    };
    RIGHTS.iter().map(permission).collect()
}
