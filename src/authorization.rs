//! `payhook authorization`: registers authorizations of Auto Debit and shows them; never a token.

use clap::Subcommand;
use payhook_console::api::{AuthorizationRegistration, AuthorizationTimeline, AuthorizationView};
use payhook_schema::{AccountName, AuthState, AuthorizationId, Wallet};

use crate::api::Api;
use crate::failure::Exit;
use crate::order::timeline_text;
use crate::output::{self, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum AuthorizationCommand {
    /// Register an authorization before its customer is sent to the wallet; repeating it is fine
    Register {
        /// The merchant's id of the authorization
        authorization: AuthorizationId,
        /// The account with Antom, as configured
        #[arg(long)]
        account: AccountName,
        /// The authState that goes to Antom's consult
        #[arg(long, value_name = "STATE")]
        auth_state: AuthState,
        /// Antom's code of the wallet (customerBelongsTo), such as KPLUS
        #[arg(long)]
        wallet: Wallet,
    },
    /// Show an authorization and its timeline, oldest entry first; never a token
    Show {
        /// The merchant's id of the authorization
        authorization: AuthorizationId,
    },
}

pub(crate) async fn run(api: &Api, command: AuthorizationCommand) -> anyhow::Result<Exit> {
    match command {
        AuthorizationCommand::Register { authorization, account, auth_state, wallet } => {
            let body = AuthorizationRegistration { account, auth_state, customer_belongs_to: wallet };
            let answer = api.put(&["authorizations", authorization.as_str()], &body).await?;
            Ok(api.print(answer, |view| Some(text(view))))
        }
        AuthorizationCommand::Show { authorization } => {
            let id = authorization.as_str();
            let Some(mut found) = api.get::<AuthorizationView>(&["authorizations", id], &()).await? else {
                return Ok(Exit::NothingFound);
            };
            let timeline = api.get::<AuthorizationTimeline>(&["authorizations", id, "timeline"], &()).await?;
            let Some(mut timeline) = timeline else { return Ok(Exit::NothingFound) };
            found.json["timeline"] = timeline.json["timeline"].take();
            let timeline = timeline_text(&timeline.view.timeline);
            Ok(api.print(Some(found), |view| Some(text(view) + &timeline)))
        }
    }
}

pub(crate) fn text(authorization: &AuthorizationView) -> String {
    let AuthorizationView { authorization_id, state, provider, account, customer_belongs_to, version, .. } =
        authorization;
    let row = [
        or_dash(authorization.expires_at),
        or_dash(authorization.refresh_expires_at),
        or_dash(authorization.next_check_at),
        or_dash(authorization.reason.as_ref()),
    ];
    format!("{authorization_id}  {state}  {provider}/{account}  {customer_belongs_to}  version {version}")
        + &output::section(["TOKEN EXPIRES", "REFRESH EXPIRES", "NEXT CHECK", "REASON"], [row])
}
