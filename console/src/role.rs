//! The roles of callers, and the sets of roles that routes ask for.

use std::fmt;
use std::str::FromStr;

/// The rights of a caller. Each role has what its work needs and no more: an operator of payhook reads no customer's
/// token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, asks providers again, and handles dead letters, replays and held orders.
    Operator,
    /// The merchant's program: registers, and charges customers by the tokens it reads.
    Merchant,
    /// Everything but customers' tokens; reads notifications as they came, but for those that carry a token.
    Admin,
    /// A caller with the one token without a name, or on the machine where no token is asked for. No caller gets this
    /// role by name.
    All,
}

pub(crate) const READ: &[Role] = &[Role::Viewer, Role::Operator, Role::Merchant, Role::Admin];
pub(crate) const REFRESH: &[Role] = &[Role::Operator, Role::Merchant, Role::Admin];
pub(crate) const OPERATE: &[Role] = &[Role::Operator, Role::Admin];
pub(crate) const REGISTER: &[Role] = &[Role::Merchant, Role::Admin];
pub(crate) const READ_TOKENS: &[Role] = &[Role::Merchant];
pub(crate) const ADMINISTER: &[Role] = &[Role::Admin];

/// The error for a word that is no role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownRole(String);

impl Role {
    /// Those a configuration can give.
    pub const NAMED: [Self; 4] = [Self::Viewer, Self::Operator, Self::Merchant, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Merchant => "merchant",
            Self::Admin => "admin",
            Self::All => "all",
        }
    }

    pub(crate) fn is_of(self, may: &[Self]) -> bool {
        self == Self::All || may.contains(&self)
    }
}

/// `merchant or admin`.
pub(crate) fn either(roles: &[Role]) -> String {
    roles.iter().map(|role| format!("`{role}`")).collect::<Vec<_>>().join(" or ")
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        let role = Self::NAMED.into_iter().find(|role| role.as_str() == word);
        role.ok_or_else(|| UnknownRole(word.chars().take(64).collect()))
    }
}

impl std::error::Error for UnknownRole {}

impl fmt::Display for UnknownRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a role; known are {}", self.0, Role::NAMED.map(Role::as_str).join(", "))
    }
}
