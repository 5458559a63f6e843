//! Imports what a source yields. Batches are validated and appended concurrently as long as no two have anything in
//! common that must be unique: of twins, the first of the source is imported.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::Moment;
use store::{AppendError, Env};
use tokio_util::task::AbortOnDropHandle;

use super::error::ImportError;
use super::origin::RecordOrigin;
use super::record::{RecordRules, ValidRecord, email_text};
use super::refusal::{HashProblem, Notice, NoticeReason};
use super::source::{RecordSource, SourceRecord};
use crate::command::{
    CommandContext, CommandError, ImportKeys, ImportResult, UserCommands, UserToImport, UsernameNumbers,
};

/// Users in one append.
const BATCH: usize = 500;
/// Batches that are validated ahead.
const VALIDATED_AHEAD: usize = 2;
/// Batches that are appended at the same time.
const IN_FLIGHT: usize = 3;
/// How often a batch is tried while the database is unavailable, and the pause in between.
const MAX_ATTEMPTS: usize = 60;
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// How users are imported.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportMode {
    /// Nothing is appended.
    pub is_dry_run: bool,
    /// Users whose hash cannot be used are imported without a password.
    pub without_password: bool,
}

/// The number of records by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportSummary {
    pub imported: u64,
    /// Of the imported, those under another username.
    pub renamed: u64,
    /// Of the imported, those without a password.
    pub without_password: u64,
    pub already_present: u64,
    pub refused: u64,
}

impl ImportSummary {
    /// The number of all records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.imported + self.already_present + self.refused
    }
}

/// Receives what happens during an import.
pub trait ImportListener {
    /// A record was refused, or changed.
    ///
    /// # Errors
    /// If it cannot be passed on; the import stops then.
    fn notice(&mut self, notice: &Notice) -> std::io::Result<()>;

    /// A batch is done, and its notices are passed on.
    ///
    /// # Errors
    /// If they cannot be kept; the import stops then.
    fn progress(&mut self, summary: &ImportSummary) -> std::io::Result<()>;
}

/// Imports all users of a source.
///
/// # Errors
/// [`ImportError`]. What was imported until then stays.
pub async fn import(
    source: &mut dyn RecordSource,
    mode: ImportMode,
    users: &UserCommands,
    context: &CommandContext,
    env: &Env,
    listener: &mut (dyn ImportListener + Send),
) -> Result<ImportSummary, ImportError> {
    let now = Moment::from_millisecond(env.now().as_millisecond()).map_err(ImportError::Clock)?;
    let rules = RecordRules { without_password: mode.without_password, now };
    let mut import = Import {
        users: users.clone(),
        context: context.clone(),
        is_dry_run: mode.is_dry_run,
        planned: ImportKeys::default(),
        numbers: Arc::default(),
        identities: ImportKeys::default(),
        in_flight: VecDeque::new(),
        summary: ImportSummary::default(),
        listener,
    };
    let mut validated: VecDeque<AbortOnDropHandle<Batch>> = VecDeque::new();
    let mut is_exhausted = false;
    loop {
        while !is_exhausted && validated.len() < VALIDATED_AHEAD {
            let records = source.next_batch(BATCH).await?;
            is_exhausted = records.is_empty();
            if !is_exhausted {
                validated
                    .push_back(AbortOnDropHandle::new(tokio::spawn(async move { validate(rules, records) })));
            }
        }
        let Some(next) = validated.pop_front() else { break };
        import.add(next.await?).await?;
    }
    import.finish().await
}

/// Records, and the valid ones among them as users, in the same order.
struct Batch {
    records: Vec<BatchRecord>,
    users: Vec<UserToImport>,
}

struct BatchRecord {
    origin: RecordOrigin,
    email: Option<String>,
    validated: Result<Option<HashProblem>, NoticeReason>,
}

fn validate(rules: RecordRules, records: Vec<SourceRecord>) -> Batch {
    let mut batch =
        Batch { records: Vec::with_capacity(records.len()), users: Vec::with_capacity(records.len()) };
    for SourceRecord { origin, fields } in records {
        let email = fields.as_ref().ok().and_then(email_text);
        let validated = match fields.and_then(|fields| rules.validate(&fields)) {
            Ok(ValidRecord { user, hash_problem }) => {
                batch.users.push(user);
                Ok(hash_problem)
            }
            Err(reason) => Err(reason),
        };
        batch.records.push(BatchRecord { origin, email, validated });
    }
    batch
}

impl Batch {
    /// Refuses users of a file that an earlier line is about.
    fn refuse_repeated(&mut self, identities: &mut ImportKeys) {
        let mut valid = self.records.iter_mut().filter(|record| record.validated.is_ok());
        self.users.retain(|user| {
            let Some(record) = valid.next() else { return false };
            let is_new =
                matches!(record.origin, RecordOrigin::Document { .. }) || identities.add_identity(user);
            if !is_new {
                record.validated = Err(NoticeReason::Repeated);
            }
            is_new
        });
    }
}

/// A batch that is being appended.
struct InFlight {
    keys: ImportKeys,
    task: AbortOnDropHandle<Result<(Batch, Vec<ImportResult>), CommandError>>,
}

struct Import<'a> {
    users: UserCommands,
    context: CommandContext,
    is_dry_run: bool,
    /// In a dry run, the users that would have been imported.
    planned: ImportKeys,
    /// The numbers after usernames that were given so far.
    numbers: Arc<UsernameNumbers>,
    /// Of the lines that were read.
    identities: ImportKeys,
    in_flight: VecDeque<InFlight>,
    summary: ImportSummary,
    listener: &'a mut (dyn ImportListener + Send),
}

impl Import<'_> {
    async fn add(&mut self, mut batch: Batch) -> Result<(), ImportError> {
        batch.refuse_repeated(&mut self.identities);
        if self.is_dry_run {
            let results = self.users.plan_import(&batch.users, &mut self.planned, &self.numbers).await?;
            return self.report(batch, results);
        }
        let keys = ImportKeys::of(&batch.users);
        while self.in_flight.len() >= IN_FLIGHT
            || self.in_flight.iter().any(|batch| !batch.keys.is_disjoint(&keys))
        {
            self.finish_oldest().await?;
        }
        let (users, context, numbers) = (self.users.clone(), self.context.clone(), Arc::clone(&self.numbers));
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let results = append(&users, &context, &batch.users, &numbers).await?;
            Ok((batch, results))
        }));
        self.in_flight.push_back(InFlight { keys, task });
        Ok(())
    }

    async fn finish_oldest(&mut self) -> Result<(), ImportError> {
        let Some(oldest) = self.in_flight.pop_front() else { return Ok(()) };
        let (batch, results) = oldest.task.await??;
        self.report(batch, results)
    }

    async fn finish(mut self) -> Result<ImportSummary, ImportError> {
        while !self.in_flight.is_empty() {
            self.finish_oldest().await?;
        }
        Ok(self.summary)
    }

    fn report(&mut self, batch: Batch, results: Vec<ImportResult>) -> Result<(), ImportError> {
        let mut results = results.into_iter();
        for BatchRecord { origin, email, validated } in batch.records {
            let mut reasons = Vec::new();
            match validated {
                Ok(hash_problem) => {
                    let Some(result) = results.next() else { continue };
                    let is_imported = self.count(result, &mut reasons);
                    if let Some(problem) = hash_problem.filter(|_| is_imported) {
                        self.summary.without_password += 1;
                        reasons.push(NoticeReason::WithoutPassword(problem));
                    }
                }
                Err(reason) => {
                    self.summary.refused += 1;
                    reasons.push(reason);
                }
            }
            for reason in reasons {
                self.listener.notice(&Notice { origin: origin.clone(), email: email.clone(), reason })?;
            }
        }
        Ok(self.listener.progress(&self.summary)?)
    }

    /// Counts a result and adds what is to be reported about it. Whether the user is imported.
    fn count(&mut self, result: ImportResult, reasons: &mut Vec<NoticeReason>) -> bool {
        let refused = match result {
            ImportResult::Imported => {
                self.summary.imported += 1;
                return true;
            }
            ImportResult::Renamed(username) => {
                self.summary.imported += 1;
                self.summary.renamed += 1;
                reasons.push(NoticeReason::Renamed(username));
                return true;
            }
            ImportResult::AlreadyPresent => {
                self.summary.already_present += 1;
                return false;
            }
            ImportResult::Erased => NoticeReason::Erased,
            ImportResult::EmailTaken(owner) => NoticeReason::EmailTaken(owner),
            ImportResult::UsernameTaken => NoticeReason::UsernameTaken,
        };
        self.summary.refused += 1;
        reasons.push(refused);
        false
    }
}

/// Appends a batch, again while the database is unavailable. Users of an append whose outcome was unknown may then be
/// there already.
async fn append(
    users: &UserCommands,
    context: &CommandContext,
    batch: &[UserToImport],
    numbers: &UsernameNumbers,
) -> Result<Vec<ImportResult>, CommandError> {
    let mut attempt = 1;
    loop {
        match users.import(context, batch, numbers).await {
            Err(error) if attempt < MAX_ATTEMPTS && is_retryable(&error) => {
                tracing::debug!(%error, attempt, "a batch of users was not imported; retrying");
                attempt += 1;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            result => return result,
        }
    }
}

fn is_retryable(error: &CommandError) -> bool {
    match error {
        CommandError::Contended(_) | CommandError::Append(AppendError::Busy | AppendError::Unknown(_)) => {
            true
        }
        CommandError::Store(error) => error.is_transient(),
        _ => false,
    }
}
