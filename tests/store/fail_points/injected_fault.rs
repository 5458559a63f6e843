//! The injected faults.

use mongodb::bson::{Document, doc};
use testkit::{FailPoint, FailPointMode, MongodServer};

/// Application name of the process whose commands fail.
pub(super) const FAULTED_PROCESS: &str = "subject";

/// A fault of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error with the label `TransientTransactionError`.
    Transient,
    /// An error with the label `UnknownTransactionCommitResult`.
    UnknownCommit,
    /// `WriteConflict` (112), with the labels that the server gives it.
    Conflict,
    /// `Interrupted` (11601): the session was killed. The server gives it no label.
    Interrupted,
    /// The connection is closed before the command is executed.
    Closed,
    /// The command is executed, but without majority confirmation in time.
    WriteConcern,
    /// The answer is delayed.
    Slow,
    /// The command is executed only after the caller has timed out.
    Silent,
    /// The command is executed, but the answer arrives after the caller has timed out.
    Unanswered,
}

/// The command that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetCommand {
    pub(super) command: &'static str,
    /// Its collection; `None` for a commit.
    pub(super) collection: Option<&'static str>,
}

impl Fault {
    /// Activates the fault for the process under test.
    pub(super) async fn set(
        self,
        server: &MongodServer,
        failing: FailPointMode,
        target: TargetCommand,
        namespace: Option<String>,
    ) -> FailPoint {
        let TargetCommand { command, collection: _ } = target;
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
            // `NoSuchTransaction`: the answer of a new primary that does not know the transaction.
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
            // The caller times out after 8 s.
            Self::Silent => doc! { "blockConnection": true, "blockTimeMS": 9_500 },
            Self::Unanswered => Document::new(),
        }
    }
}
