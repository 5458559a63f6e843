//! What befalls a command on its way.

use mongodb::bson::{Document, doc};
use testkit::{FailPoint, FailPointMode, MongodServer};

/// The name of the process that is made to fail.
pub(super) const FAULTED_PROCESS: &str = "subject";

/// What happens to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error with the label `TransientTransactionError`.
    Transient,
    /// An error with the label `UnknownTransactionCommitResult`.
    UnknownCommit,
    /// `WriteConflict` (112), with the labels that the server gives it.
    Conflict,
    /// `Interrupted` (11601): somebody has ended the session. The server gives it no label.
    Interrupted,
    /// The connection is closed before the command is carried out.
    Closed,
    /// It is carried out, but a majority has not confirmed it in time.
    WriteConcern,
    /// The answer takes a while.
    Slow,
    /// The command is carried out only after the caller has been answered.
    Silent,
    /// It is carried out, but the answer does not come before the caller has been answered.
    Unanswered,
}

/// A command of the process under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetCommand {
    pub(super) command: &'static str,
    /// On which collection; none for a commit.
    pub(super) collection: Option<&'static str>,
}

impl Fault {
    /// Sets it up for commands of the process under test.
    pub(super) async fn set(
        self,
        server: &MongodServer,
        failing: FailPointMode,
        place: TargetCommand,
        namespace: Option<String>,
    ) -> FailPoint {
        let TargetCommand { command, collection: _ } = place;
        if self == Self::Unanswered {
            let data = doc! { "commands": [command] };
            return FailPoint::named("waitAfterCommandFinishesExecution", server, failing, data).await;
        }
        let mut data = self.effect();
        data.insert("failCommands", [command].as_slice());
        data.insert("appName", FAULTED_PROCESS);
        if let Some(namespace) = namespace {
            data.insert("namespace", namespace);
        }
        FailPoint::command(server, failing, data).await
    }

    fn effect(self) -> Document {
        match self {
            // `NoSuchTransaction`: what a server says whose predecessor has taken the transaction with it.
            Self::Transient => doc! { "errorCode": 251, "errorLabels": ["TransientTransactionError"] },
            // `MaxTimeMSExpired`
            Self::UnknownCommit => {
                doc! { "errorCode": 50, "errorLabels": ["UnknownTransactionCommitResult"] }
            }
            Self::Conflict => doc! { "errorCode": 112 },
            Self::Interrupted => doc! { "errorCode": 11_601 },
            Self::Closed => doc! { "closeConnection": true },
            // `WriteConcernFailed`
            Self::WriteConcern => doc! { "writeConcernError": { "code": 64, "errmsg": "timed out" } },
            Self::Slow => doc! { "blockConnection": true, "blockTimeMS": 300 },
            // The caller is answered after 8 s.
            Self::Silent => doc! { "blockConnection": true, "blockTimeMS": 9_500 },
            Self::Unanswered => Document::new(),
        }
    }
}
