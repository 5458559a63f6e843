//! Reasons to refuse a database, a key or an operation, which trying again does not change.

use crate::key_store::KeyId;

/// Why the store refuses. Each message says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalReason {
    /// The URL of the database is malformed. It is not repeated, since it may hold a password.
    #[error("the MongoDB URL cannot be used: {reason}")]
    InvalidUrl {
        /// The driver's message.
        reason: String,
    },
    /// The name cannot name a database.
    #[error(
        "`{name}` cannot name a MongoDB database: a name has up to 63 bytes and no / \\ . \" $ * < > : | ? \
         or space"
    )]
    InvalidDatabaseName {
        /// The name.
        name: String,
    },
    /// The server has no transactions.
    #[error(
        "MongoDB at {hosts} is a standalone server, which has no transactions. Make it a replica set of one: \
         restart mongod with `--replSet rs0`, then run once: mongosh --host {hosts} --eval 'rs.initiate()'"
    )]
    StandaloneServer {
        /// The hosts of the URL.
        hosts: String,
    },
    /// The server is a `mongos`.
    #[error(
        "MongoDB at {hosts} is the router (mongos) of a sharded cluster, on which Aegis does not run. Give it \
         the URL of a replica set"
    )]
    ShardedCluster {
        /// The hosts of the URL.
        hosts: String,
    },
    /// The database rejects the operation for good, such as for lack of rights.
    #[error("{operation}: {reason}")]
    Rejected {
        /// The operation.
        operation: String,
        /// The database's message.
        reason: String,
    },
    /// The folder of the database file does not exist.
    #[error("{file} cannot be created: its folder does not exist. Create the folder first")]
    FolderMissing {
        /// The file.
        file: String,
    },
    /// The folder of the database file is not writable.
    #[error(
        "{file} cannot be created: this process may not write to its folder. Give the folder to the user who \
         runs Aegis"
    )]
    FolderNotWritable {
        /// The file.
        file: String,
    },
    /// The path of the database file names a folder.
    #[error("{file} is a folder: name a file in it as the database")]
    IsFolder {
        /// The path.
        file: String,
    },
    /// The path of the database file names a device, a socket or a pipe.
    #[error("{file} is not a regular file: it cannot be the database")]
    NotRegularFile {
        /// The path.
        file: String,
    },
    /// The database file, or what SQLite keeps beside it, is not writable.
    #[error(
        "{file} cannot be opened for writing: the user who runs Aegis must be able to write the file, the \
         `-wal` and `-shm` files beside it, and their folder: {reason}"
    )]
    NotWritable {
        /// The file.
        file: String,
        /// SQLite's message.
        reason: String,
    },
    /// The file is not a SQLite database.
    #[error("{file} is not a SQLite database: name another file, or move it away")]
    NotSqlite {
        /// The file.
        file: String,
    },
    /// Processes on this file system cannot share memory.
    #[error(
        "{file} is on a file system that cannot share memory between processes, such as a network file \
         system: put it on a local disk"
    )]
    NetworkFileSystem {
        /// The file.
        file: String,
    },
    /// The database has tables, and none of Aegis.
    #[error(
        "{database} is a database of another program: it has tables, but none of Aegis. Name another one"
    )]
    ForeignDatabase {
        /// The file or the name.
        database: String,
    },
    /// The schema has an object that Aegis has not created, or has changed since.
    #[error(
        "{database}: Aegis has not created {object}, or not so. It can copy keys that an erasure destroys, and \
         change or hide rows. Find out who created it; remove it with `{removal}` while Aegis is stopped, and start \
         again: what is missing then is created. Nothing was changed"
    )]
    ForeignObject {
        /// The file or the name.
        database: String,
        /// The object.
        object: String,
        /// The command that removes it.
        removal: String,
    },
    /// The database has events, and no record of their format.
    #[error(
        "{database} has events, but `meta` is missing: another program wrote them, or the database is \
         damaged. Restore it from a backup, or name another one. Nothing was changed"
    )]
    MissingMeta {
        /// The file or the name.
        database: String,
    },
    /// A newer version of Aegis wrote the database.
    #[error(
        "{database} has format {found}, and this version of Aegis supports formats up to {supported}: run \
         the version that wrote it, or a later one. Nothing was changed"
    )]
    NewerFormat {
        /// The file or the name.
        database: String,
        /// The stored format.
        found: u32,
        /// The newest format of this version.
        supported: u32,
    },
    /// A table was created with other columns than this version declares.
    #[error(
        "table `{table}` has the columns {}, and this version of Aegis declares {}. A read model whose \
         columns change needs a new projection version",
        stored.join(", "),
        declared.join(", ")
    )]
    TableLayout {
        /// The table.
        table: String,
        /// Its columns.
        stored: Vec<String>,
        /// The declared columns.
        declared: Vec<String>,
    },
    /// The database cannot store such a value in the data of an event.
    #[error("{value} in the data of an event cannot be stored in MongoDB")]
    UnstorableValue {
        /// The kind of value.
        value: &'static str,
    },
    /// Another rotation, to another master key, began in the meantime.
    #[error(
        "a rotation to master key {by} has started since, so the rotation to {own} ends here; the newer \
         rotation also rewraps what this one has wrapped"
    )]
    RotationSuperseded {
        /// The master key of the newer rotation.
        by: KeyId,
        /// The master key of this rotation.
        own: KeyId,
    },
    /// The projection has no such version.
    #[error("projection `{projection}` has no version {version}: {existing}")]
    VersionNotFound {
        /// The projection.
        projection: String,
        /// The version.
        version: u64,
        /// The versions that exist.
        existing: String,
    },
    /// This version of Aegis does not have the code of the projection version.
    #[error("projection `{projection}`: version {version} was built by another version of Aegis")]
    UnsupportedVersion {
        /// The projection.
        projection: String,
        /// The version.
        version: u64,
    },
    /// A table was emptied to be rebuilt while it was being read.
    #[error("table `{table}` was rebuilt in the meantime: verify it again")]
    TableRebuilt {
        /// The table.
        table: String,
    },
}
