//! Imports users of another system in batches, one append each. A batch is decided against the key store entries and
//! claims that its users need, and decided again if another writer was faster.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{
    ClaimKind, EmailAddress, Moment, PasswordHash, Role, System, User, UserCommand, UserEvent, UserId,
    Username, administrator_change, system, user,
};
use futures::future::try_join_all;
use store::{AppendError, Appended, Claim, Env, EventStore, KeyState, StreamId};

use super::executor::{Decider, Decision, Loaded, execute};
use super::user::{UserCommands, load_system, system_write, user_write};
use super::{Aggregate, CommandContext, CommandError};

/// The fewest candidates for a free username that are looked up at once.
const MIN_CANDIDATES: u32 = 16;
/// The largest number that is appended to a username.
const MAX_NUMBER: u32 = 1_000_000;
/// Usernames whose numbers an import remembers.
const MAX_NUMBERED_NAMES: usize = 65_536;
/// Streams whose first event is read at the same time.
const CONCURRENT_READS: usize = 32;

/// A user of another system, as validated.
#[derive(Clone, Debug)]
pub struct UserToImport {
    /// The id in the other system, if it is kept.
    pub id: Option<UserId>,
    pub email: EmailAddress,
    pub username: Username,
    /// `None` if the user has to set a password first.
    pub password_hash: Option<PasswordHash>,
    pub is_active: bool,
    pub created_at: Moment,
    pub roles: BTreeSet<Role>,
}

/// What became of a user who was to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportResult {
    Imported,
    /// Imported under another username, because another user has theirs.
    Renamed(Username),
    /// There is an account under this id or, if the user has none, an imported one with the e-mail address.
    AlreadyPresent,
    /// The user with this id was erased.
    Erased,
    /// Another user has the e-mail address; `None` if it is an earlier one of the same import.
    EmailTaken(Option<UserId>),
    /// No free username was found.
    UsernameTaken,
}

/// E-mail addresses, usernames and ids of users to import, as hashes of their keys.
#[derive(Debug, Default)]
pub struct ImportKeys(HashSet<u64>);

impl ImportKeys {
    /// What no two users can have in common.
    #[must_use]
    pub fn of(users: &[UserToImport]) -> Self {
        let keys = |user: &UserToImport| {
            let unique = [email_key(&user.email), username_key(&user.username)];
            unique.into_iter().chain(user.id.map(id_key))
        };
        Self(users.iter().flat_map(keys).collect())
    }

    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    /// Adds what identifies the user in the other system: the id or, without one, the e-mail address. `false` if it is
    /// among the keys already.
    pub fn add_identity(&mut self, user: &UserToImport) -> bool {
        self.0.insert(user.id.map_or_else(|| email_key(&user.email), id_key))
    }
}

/// The largest number that an import has appended to each username. Without them, every batch would look up the
/// numbers of all earlier ones again. They are hints: claims decide which names are free.
#[derive(Debug, Default)]
pub struct UsernameNumbers(Mutex<HashMap<u64, u32>>);

impl UsernameNumbers {
    /// The first number to be tried.
    fn next(&self, username: &Username) -> u32 {
        self.numbers().get(&username_key(username)).map_or(2, |last| last.saturating_add(1))
    }

    /// Remembers the numbers that were given. Names with few twins are numbered again from the beginning, which costs
    /// nothing: one look-up covers them.
    fn remember(&self, given: &[(u64, u32)]) {
        let mut numbers = self.numbers();
        for (name, number) in given.iter().filter(|(_, number)| *number >= MIN_CANDIDATES) {
            if numbers.len() < MAX_NUMBERED_NAMES || numbers.contains_key(name) {
                let last = numbers.entry(*name).or_default();
                *last = (*last).max(*number);
            }
        }
    }

    fn numbers(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn email_key(email: &EmailAddress) -> u64 {
    hash(&(0, email.key()))
}

fn username_key(username: &Username) -> u64 {
    hash(&(1, username.key()))
}

fn id_key(id: UserId) -> u64 {
    hash(&(2, id))
}

fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl UserCommands {
    /// Imports users in one append. Of two with the same e-mail address the first is imported. The results are in the
    /// order of the users. `numbers` are those of the batches before.
    ///
    /// # Errors
    /// [`CommandError`] if the batch cannot be appended: nothing was, unless the outcome is unknown.
    pub async fn import(
        &self,
        context: &CommandContext,
        users: &[UserToImport],
        numbers: &UsernameNumbers,
    ) -> Result<Vec<ImportResult>, CommandError> {
        let batch = ImportBatch::new(users, numbers, &self.env);
        let Planned { results, given } = execute(&self.store, &self.env, context, &batch).await?;
        numbers.remember(&given);
        Ok(results)
    }

    /// What [`UserCommands::import`] would do after it has imported the users with the keys in `before`, to which those
    /// of these users are added. Nothing is appended.
    ///
    /// # Errors
    /// [`CommandError`] if claims or key store entries cannot be read.
    pub async fn plan_import(
        &self,
        users: &[UserToImport],
        before: &mut ImportKeys,
        numbers: &UsernameNumbers,
    ) -> Result<Vec<ImportResult>, CommandError> {
        let batch = ImportBatch::new(users, numbers, &self.env);
        let Planned { results, given } = batch.plan(&self.store, before).await?;
        numbers.remember(&given);
        Ok(results)
    }
}

/// Users that are imported in one append.
struct ImportBatch<'a> {
    users: &'a [UserToImport],
    numbers: &'a UsernameNumbers,
    /// The id of each, a new one if the user has none.
    ids: Vec<UserId>,
}

/// What becomes of the users of a batch.
struct Planned {
    results: Vec<ImportResult>,
    /// The numbers after usernames, by the key of the name.
    given: Vec<(u64, u32)>,
}

struct ImportState {
    planned: Planned,
    /// Loaded if administrators are imported.
    system: Option<Loaded<System>>,
}

impl<'a> ImportBatch<'a> {
    fn new(users: &'a [UserToImport], numbers: &'a UsernameNumbers, env: &Env) -> Self {
        let id = |user: &UserToImport| user.id.unwrap_or_else(|| UserId::from_uuid(env.uuid()));
        Self { users, numbers, ids: users.iter().map(id).collect() }
    }

    fn users(&self) -> impl Iterator<Item = (UserId, &'a UserToImport)> {
        self.ids.iter().copied().zip(self.users)
    }

    /// What becomes of each user. `taken` are the keys of other users of the import.
    async fn plan(&self, store: &EventStore, taken: &mut ImportKeys) -> Result<Planned, CommandError> {
        let streams: Result<Vec<_>, _> =
            self.ids.iter().map(|id| StreamId::from_trusted(id.stream())).collect();
        let states = store.key_states(&streams?).await?;
        let emails = self.users.iter().map(|user| email_claim(&user.email));
        let usernames = self.users.iter().map(|user| username_claim(&user.username));
        let owners = store.claim_owners(&emails.chain(usernames).collect::<Vec<_>>()).await?;
        let (email_owners, username_owners) = owners.split_at_checked(self.users.len()).unwrap_or_default();
        let imported = self.imported_owners(store, email_owners).await?;
        let (mut results, mut unnamed) = (Vec::new(), Vec::new());
        let owners = email_owners.iter().zip(username_owners);
        for (index, ((user, state), (email, username))) in
            self.users.iter().zip(states).zip(owners).enumerate()
        {
            let has_id = |id: UserId| !taken.0.insert(id_key(id));
            results.push(match (state, email) {
                (KeyState::Erased, _) => ImportResult::Erased,
                (KeyState::Present, _) => ImportResult::AlreadyPresent,
                (KeyState::Absent, Some(owner)) if imported.contains(owner) => ImportResult::AlreadyPresent,
                (KeyState::Absent, Some(owner)) => {
                    ImportResult::EmailTaken(UserId::from_stream(owner.as_str()))
                }
                (KeyState::Absent, None) if user.id.is_some_and(has_id) => ImportResult::AlreadyPresent,
                (KeyState::Absent, None) if !taken.0.insert(email_key(&user.email)) => {
                    ImportResult::EmailTaken(None)
                }
                (KeyState::Absent, None) => {
                    if username.is_some() || !taken.0.insert(username_key(&user.username)) {
                        unnamed.push(index);
                    }
                    ImportResult::Imported
                }
            });
        }
        let wanted: Vec<_> =
            unnamed.iter().filter_map(|index| Some(&self.users.get(*index)?.username)).collect();
        let names = free_usernames(store, &wanted, self.numbers, taken).await?;
        let mut given = Vec::new();
        for ((index, name), wanted) in unnamed.iter().zip(names).zip(wanted) {
            let Some(result) = results.get_mut(*index) else { continue };
            *result = match name {
                Some((name, number)) => {
                    given.push((username_key(wanted), number));
                    ImportResult::Renamed(name)
                }
                None => ImportResult::UsernameTaken,
            };
        }
        Ok(Planned { results, given })
    }

    /// The owners of e-mail addresses of users without an id that were imported themselves.
    async fn imported_owners(
        &self,
        store: &EventStore,
        owners: &[Option<StreamId>],
    ) -> Result<HashSet<StreamId>, CommandError> {
        let without_id = self.users.iter().zip(owners).filter(|(user, _)| user.id.is_none());
        let owners: Vec<_> = without_id.filter_map(|(_, owner)| owner.clone()).collect();
        let mut imported = HashSet::new();
        for owners in owners.chunks(CONCURRENT_READS) {
            let reads = owners.iter().map(|owner| store.read_stream_after(owner, 0, 1));
            for (owner, first) in owners.iter().zip(try_join_all(reads).await?) {
                if first.first().is_some_and(|first| first.event_type == UserEvent::IMPORTED_TYPE) {
                    imported.insert(owner.clone());
                }
            }
        }
        Ok(imported)
    }

    /// The events of each user who is imported.
    fn events(&self, results: &[ImportResult]) -> Result<Vec<(UserId, Vec<UserEvent>, User)>, CommandError> {
        let mut decided = Vec::new();
        for ((id, user), result) in self.users().zip(results) {
            let username = match result {
                ImportResult::Imported => &user.username,
                ImportResult::Renamed(username) => username,
                _ => continue,
            };
            let (mut after, mut events) = (User::Absent, Vec::new());
            for command in commands(user, username) {
                let new = user::decide(&after, command)?;
                after = new.iter().fold(after, user::evolve);
                events.extend(new);
            }
            decided.push((id, events, after));
        }
        Ok(decided)
    }
}

fn commands(user: &UserToImport, username: &Username) -> impl Iterator<Item = UserCommand> {
    let import = UserCommand::Import {
        email: user.email.clone(),
        username: username.clone(),
        password_hash: user.password_hash.clone(),
        is_active: user.is_active,
        created_at: user.created_at,
    };
    let grants = user.roles.iter().map(|role| UserCommand::GrantRole { role: *role });
    std::iter::once(import).chain(grants)
}

impl Decider for ImportBatch<'_> {
    type State = ImportState;
    type Output = Planned;

    fn aggregate(&self) -> Aggregate {
        Aggregate::Import
    }

    fn command(&self) -> &'static str {
        "import"
    }

    async fn load(&self, store: &EventStore) -> Result<ImportState, CommandError> {
        let planned = self.plan(store, &mut ImportKeys::default()).await?;
        let has_administrator = self.users.iter().any(|user| user.roles.contains(&Role::Admin));
        let system = if has_administrator { Some(load_system(store).await?) } else { None };
        Ok(ImportState { planned, system })
    }

    fn decide(&self, state: ImportState, env: &Env) -> Result<Decision<Planned>, CommandError> {
        let ImportState { planned, system } = state;
        let (mut writes, mut administrators) = (Vec::new(), Vec::new());
        for (id, events, after) in self.events(&planned.results)? {
            writes.push(user_write(env, id, 0, &events)?);
            administrators.extend(administrator_change(id, &User::Absent, &after));
        }
        if let Some(Loaded { state, version, .. }) = system {
            let mut events = Vec::new();
            for change in administrators {
                events.extend(system::decide(&state, change)?);
            }
            writes.extend(system_write(env, version, &events)?);
        }
        Ok(Decision { writes, guards: Vec::new(), output: planned })
    }

    /// Another writer has taken a claim, or erased a user.
    fn is_outdated(&self, error: &AppendError) -> bool {
        matches!(error, AppendError::ClaimTaken { .. } | AppendError::Erased { .. })
    }

    fn complete(_: &mut Planned, _: &Appended) {}
}

/// A free username for each, with its number; `None` if there is none. They are added to `taken`.
async fn free_usernames(
    store: &EventStore,
    wanted: &[&Username],
    numbers: &UsernameNumbers,
    taken: &mut ImportKeys,
) -> Result<Vec<Option<(Username, u32)>>, CommandError> {
    let mut found = vec![None; wanted.len()];
    let mut twins: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, username) in wanted.iter().enumerate() {
        twins.entry(username.key()).or_default().push(index);
    }
    // Those of one name, and the number to be tried next.
    let first = |twins: &[usize]| twins.first().and_then(|first| wanted.get(*first));
    let next = |twins: &[usize]| first(twins).map_or(2, |username| numbers.next(username));
    let twins = twins.into_values();
    let mut pending: Vec<_> = twins.map(|twins| (next(&twins), twins)).collect();
    while !pending.is_empty() {
        let mut candidates = Vec::new();
        for (group, (next, twins)) in pending.iter_mut().enumerate() {
            let Some(username) = first(twins) else { continue };
            let count = u32::try_from(2 * twins.len()).unwrap_or(MAX_NUMBER).max(MIN_CANDIDATES);
            candidates
                .extend((*next..*next + count).map(|number| (group, number, username.numbered(number))));
            *next += count;
        }
        let claims: Vec<_> = candidates.iter().map(|(.., name)| username_claim(name)).collect();
        for ((group, number, name), owner) in candidates.into_iter().zip(store.claim_owners(&claims).await?) {
            let Some((_, twins)) = pending.get_mut(group) else { continue };
            if !twins.is_empty() && owner.is_none() && taken.0.insert(username_key(&name)) {
                let index = twins.remove(0);
                // The twins of one name may be written differently.
                let own = wanted.get(index).map(|username| username.numbered(number));
                if let Some(found) = found.get_mut(index) {
                    let name = own.filter(|own| own.key() == name.key()).unwrap_or(name);
                    *found = Some((name, number));
                }
            }
        }
        pending.retain(|(next, twins)| !twins.is_empty() && *next < MAX_NUMBER);
    }
    Ok(found)
}

fn email_claim(email: &EmailAddress) -> Claim {
    Claim { kind: ClaimKind::Email.as_str(), value: email.key() }
}

fn username_claim(username: &Username) -> Claim {
    Claim { kind: ClaimKind::Username.as_str(), value: username.key() }
}
