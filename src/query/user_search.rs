//! Search of users: by the beginning of e-mail address or username, by either as a whole, by role and by state, in
//! pages. What a page begins and ends with is a value of an index, so that users who do not change are neither skipped
//! nor repeated, whatever happens to others in between.

use std::fmt;
use std::str::FromStr;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use domain::{EmailAddress, Role, SearchTerm, UserId, Username};
use projections::UserRow;
use store::PrefixQuery;

use super::users::{UserQueries, parse_row};
use super::{QueryError, RowsQuery};

/// Rows that one page may read. If few users hold a role, a page has fewer users than asked for.
const MAX_READ: usize = 5_000;
/// Rows that are read at once if only some of them match.
const BATCH: usize = 500;

/// Which users are sought: those whom all of this applies to.
#[derive(Clone, Debug, Default)]
pub struct UserSearch {
    /// The beginning of e-mail address or username.
    pub term: Option<SearchTerm>,
    pub email: Option<EmailAddress>,
    pub username: Option<Username>,
    pub role: Option<Role>,
    pub is_active: Option<bool>,
}

/// Users that match a search.
#[derive(Debug)]
pub struct UserPage {
    pub users: Vec<UserRow>,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<SearchCursor>,
}

/// A position in the results of a search: a value of one of its indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchCursor {
    scan: usize,
    after: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not come from an earlier page")]
pub struct InvalidCursor;

impl SearchCursor {
    /// The position after that user in the order of ids, which a search without `term`, `email` and `username` has.
    #[must_use]
    pub fn after_id(id: UserId) -> Self {
        Self { scan: 0, after: Some(id.to_string()) }
    }
}

impl fmt::Display for SearchCursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}:{}", self.scan, self.after.as_deref().unwrap_or_default());
        out.write_str(&BASE64_URL_SAFE_NO_PAD.encode(text))
    }
}

impl FromStr for SearchCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let decoded = String::from_utf8(decoded).map_err(|_| InvalidCursor)?;
        let (scan, after) = decoded.split_once(':').ok_or(InvalidCursor)?;
        let scan = scan.parse().map_err(|_| InvalidCursor)?;
        Ok(Self { scan, after: Some(after.to_owned()).filter(|after| !after.is_empty()) })
    }
}

/// An index that is read from a value on.
enum Scan {
    Id,
    /// One value.
    Exact(IndexedColumn, String),
    Prefix(IndexedColumn, String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IndexedColumn {
    Email,
    Username,
}

impl IndexedColumn {
    fn name(self) -> &'static str {
        match self {
            Self::Email => "email_key",
            Self::Username => "username_key",
        }
    }

    fn value(self, row: &UserRow) -> String {
        match self {
            Self::Email => row.email.key(),
            Self::Username => row.username.key(),
        }
    }
}

impl Scan {
    fn value(&self, row: &UserRow) -> String {
        match self {
            Self::Id => row.id.to_string(),
            Self::Exact(column, _) | Self::Prefix(column, _) => column.value(row),
        }
    }
}

impl UserSearch {
    /// The indexes to read, one after the other.
    fn scans(&self) -> Vec<Scan> {
        use IndexedColumn::{Email, Username};
        if let Some(email) = &self.email {
            return vec![Scan::Exact(Email, email.key())];
        }
        if let Some(username) = &self.username {
            return vec![Scan::Exact(Username, username.key())];
        }
        let Some(term) = &self.term else { return vec![Scan::Id] };
        let emails = term.email_prefixes().into_iter().map(|prefix| Scan::Prefix(Email, prefix));
        let usernames = term.username_prefix().map(|prefix| Scan::Prefix(Username, prefix.to_owned()));
        emails.chain(usernames).collect()
    }

    /// Whether a row belongs to the results of a scan. Of the beginnings, the e-mail address comes first: a user
    /// who matches by both is found by it.
    fn matches(&self, scan: &Scan, row: &UserRow) -> bool {
        let is_found = self.term.as_ref().is_none_or(|term| match scan {
            Scan::Prefix(IndexedColumn::Email, _) => term.matches_email(&row.email),
            Scan::Prefix(IndexedColumn::Username, _) => {
                term.matches_username(&row.username) && !term.matches_email(&row.email)
            }
            Scan::Id | Scan::Exact(..) => {
                term.matches_email(&row.email) || term.matches_username(&row.username)
            }
        });
        is_found
            && self.email.as_ref().is_none_or(|email| email.key() == row.email.key())
            && self.username.as_ref().is_none_or(|username| username.key() == row.username.key())
            && self.role.is_none_or(|role| row.roles.contains(&role))
            && self.is_active.is_none_or(|is_active| row.is_active == is_active)
    }

    fn batch(&self, wanted: usize) -> usize {
        let is_filtered = self.role.is_some() || self.is_active.is_some();
        if is_filtered { BATCH } else { wanted.min(BATCH) }
    }
}

impl UserQueries {
    /// At most `limit` users that match a search, from a position in its results on. A page may have fewer, or none,
    /// before the last one.
    ///
    /// # Errors
    /// [`QueryError::Store`] if the rows cannot be read.
    pub async fn search(
        &self,
        search: &UserSearch,
        from: Option<SearchCursor>,
        limit: usize,
    ) -> Result<UserPage, QueryError> {
        let (scans, mut users) = (search.scans(), Vec::new());
        let SearchCursor { mut scan, mut after } = from.unwrap_or_default();
        let (mut last, mut left) = (None, MAX_READ);
        while let Some(current) = scans.get(scan) {
            let size = search.batch(limit - users.len() + 1).min(left);
            let rows = self.read_scan(current, after.as_deref(), size).await?;
            let is_last = rows.len() < size || matches!(current, Scan::Exact(..));
            left -= rows.len();
            for row in rows {
                let cursor = SearchCursor { scan, after: Some(current.value(&row)) };
                after.clone_from(&cursor.after);
                if !search.matches(current, &row) {
                    continue;
                }
                if users.len() == limit {
                    return Ok(UserPage { users, next: last });
                }
                users.push(row);
                last = Some(cursor);
            }
            if is_last {
                (scan, after) = (scan + 1, None);
            } else if left == 0 {
                return Ok(UserPage { users, next: Some(SearchCursor { scan, after }) });
            }
        }
        Ok(UserPage { users, next: None })
    }

    async fn read_scan(
        &self,
        scan: &Scan,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UserRow>, QueryError> {
        let prefix_query;
        let query = match scan {
            Scan::Id => RowsQuery::Page { after, limit },
            // Its only row was on an earlier page.
            Scan::Exact(..) if after.is_some() => return Ok(Vec::new()),
            Scan::Exact(column, text) => RowsQuery::Find { column: column.name(), text },
            Scan::Prefix(column, prefix) => {
                let (prefix, after) = (prefix.clone(), after.map(str::to_owned));
                prefix_query = PrefixQuery { column: column.name(), prefix, after, limit };
                RowsQuery::Prefix(&prefix_query)
            }
        };
        let (_, page) = self.model.read_complete(query).await?;
        page.rows.iter().map(parse_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use projections::{Projection, Users};

    use super::*;

    #[test]
    fn every_searched_column_has_an_index() {
        let users: &dyn Projection = &Users;
        for column in [IndexedColumn::Email, IndexedColumn::Username] {
            assert!(users.schema().indexes.contains(&column.name()), "{}", column.name());
        }
    }

    #[test]
    fn cursors_are_read_back() {
        for cursor in [
            SearchCursor { scan: 0, after: None },
            SearchCursor { scan: 2, after: Some("ada:@例子.广告".to_owned()) },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", "x", "MTox=", "MQ", "eDox", "_w"] {
            assert_eq!(bad.parse::<SearchCursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}
