use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use payhook_schema::{AccountName, Provider};

use super::JsonOutput;

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// antom or omise
    pub(crate) provider: Provider,
    /// The request's headers, one `Name: value` a line; what `curl -v` prints and raw HTTP will do, a request line tells the path
    #[arg(long, value_name = "FILE")]
    pub(crate) headers: PathBuf,
    /// The request's body, byte for byte
    #[arg(long, value_name = "FILE")]
    pub(crate) body: PathBuf,
    /// The account it was sent to; the path says, unless told here
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
    /// The path it was sent to, as the provider has it registered
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// The method it was sent with; the request line says, unless told here
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// The time when it was received; without it, an account's `signature_age_max` is not held against it
    #[arg(long, value_name = "TIME")]
    pub(crate) received_at: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) output: JsonOutput,
}
