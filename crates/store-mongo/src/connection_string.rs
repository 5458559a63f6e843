//! Prepares a MongoDB connection string for the driver: options that other drivers accept and this one rejects are
//! left out with a warning, as the specification of connection strings demands, and errors never repeat what may
//! be a part of the password.

use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use store::{RefusalReason, StoreError};

/// Options that the driver accepts, in lower case. `uuidRepresentation`, `socketTimeoutMS` and `compressors` are
/// not among them: no UUIDs are stored in a binary form, timeouts are Aegis' own, and no compressor is built in.
const SUPPORTED_OPTIONS: [&str; 42] = [
    "appname",
    "authmechanism",
    "authmechanismproperties",
    "authsource",
    "connecttimeoutms",
    "directconnection",
    "heartbeatfrequencyms",
    "journal",
    "loadbalanced",
    "localthresholdms",
    "maxconnecting",
    "maxidletimems",
    "maxpoolsize",
    "maxstalenessseconds",
    "minpoolsize",
    "proxyhost",
    "proxypassword",
    "proxyport",
    "proxyusername",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "replicaset",
    "retryreads",
    "retrywrites",
    "servermonitoringmode",
    "serverselectiontimeoutms",
    "srvmaxhosts",
    "srvservicename",
    "ssl",
    "tls",
    "tlsallowinvalidcertificates",
    "tlsallowinvalidhostnames",
    "tlscafile",
    "tlscertificatekeyfile",
    "tlscertificatekeyfilepassword",
    "tlsinsecure",
    "w",
    "wtimeout",
    "wtimeoutms",
    "adaptiveretries",
    "maxadaptiveretries",
];
/// The hosts are replaced by this one to find out whether an error is about the options.
const PLACEHOLDER: &str = "mongodb://host/";

/// Parses the connection string. Options that were left out are logged.
///
/// # Errors
/// [`RefusalReason::InvalidUrl`], without any part of the password.
pub(crate) async fn parse(url: &str) -> Result<ClientOptions, StoreError> {
    let (address, options) = split(url);
    let (kept, ignored): (Vec<_>, Vec<_>) = options.into_iter().partition(|option| is_supported(option));
    for option in ignored {
        let option = name(option);
        tracing::warn!(option, "this option of the MongoDB URL is not supported and is ignored");
    }
    let query = kept.join("&");
    let url = if query.is_empty() { address.to_owned() } else { format!("{address}?{query}") };
    match ClientOptions::parse(&url).await {
        Ok(options) => Ok(options),
        Err(error) if matches!(*error.kind, ErrorKind::InvalidArgument { .. }) => {
            Err(RefusalReason::InvalidUrl { reason: reason(&query).await }.into())
        }
        Err(error) => Err(crate::error::from_driver_error("reading the MongoDB URL", error)),
    }
}

/// The address, and the options after the question mark that follows it. A password may contain one although it
/// should not, so the last `@` is searched first.
fn split(url: &str) -> (&str, Vec<&str>) {
    let hosts = url.rfind('@').unwrap_or_default();
    let query = url.get(hosts..).and_then(|rest| rest.find('?')).map(|at| hosts + at);
    let parts = query.and_then(|at| Some((url.get(..at)?, url.get(at + 1..)?)));
    let (address, query) = parts.unwrap_or((url, ""));
    (address, query.split('&').filter(|option| !option.is_empty()).collect())
}

fn name(option: &str) -> &str {
    option.split_once('=').map_or(option, |(name, _)| name)
}

fn is_supported(option: &str) -> bool {
    let lower = option.to_ascii_lowercase();
    // Zero stands for no limit, which the driver does not know: the default of Aegis applies.
    lower != "maxpoolsize=0" && SUPPORTED_OPTIONS.contains(&name(&lower))
}

/// Why the connection string is invalid: the driver's message if it is about the options, and otherwise one that
/// repeats nothing of the address, which holds the password.
async fn reason(query: &str) -> String {
    let is_secret = |option: &&str| name(option).to_ascii_lowercase().contains("password");
    let public: Vec<_> = query.split('&').filter(|option| !is_secret(option)).collect();
    if let Err(error) = ClientOptions::parse(format!("{PLACEHOLDER}?{}", public.join("&"))).await
        && let ErrorKind::InvalidArgument { message, .. } = &*error.kind
    {
        return message.clone();
    }
    "write mongodb://USER:PASSWORD@HOST:PORT/?replicaSet=NAME, and percent-encode : / ? # [ ] @ % in the user name \
     and the password"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> String {
        match parse(url).await {
            Err(StoreError::Refused(why)) => why.to_string(),
            other => panic!("{url}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn no_part_of_a_password_is_repeated() {
        for url in [
            "mongodb://svc:Hunter2?@h/",
            "mongodb://svc:Hunter2?x=1@h/?replicaSet=rs0",
            "mongodb://svc:Hunter2/@h",
            "mongodb://svc:Hunter2%@h/",
            "mongodb://svc:Hun@ter2@h/",
            "mongodb://svc:Hunter2",
            "mongodb://svc:Hunter2@h:port/",
            "mongodb://h/?proxyPassword=Hunter2&maxIdleTimeMS=x",
        ] {
            let why = refusal(url).await;
            assert!(!why.contains("Hunter2") && !why.contains("ter2"), "{url}: {why}");
        }
        assert!(refusal("mongodb://h/?maxIdleTimeMS=x").await.to_lowercase().contains("maxidletimems"));
    }

    /// The names of ignored options are logged.
    #[test]
    fn no_part_of_a_password_is_taken_for_an_option() {
        let parts = split("mongodb://svc:Hun?ter2=x&y@h/?replicaSet=rs0&tls=true");
        assert_eq!(parts, ("mongodb://svc:Hun?ter2=x&y@h/", vec!["replicaSet=rs0", "tls=true"]));
    }

    #[tokio::test]
    async fn options_of_other_drivers_are_ignored() {
        for option in [
            "uuidRepresentation=standard",
            "socketTimeoutMS=1000",
            "compressors=zlib,snappy",
            "zlibCompressionLevel=3",
            "waitQueueTimeoutMS=100",
            "maxPoolSize=0",
            "someNewOption=1",
        ] {
            let options = parse(&format!("mongodb://ada:pw@h/?{option}&replicaSet=rs0")).await;
            let options = options.unwrap_or_else(|error| panic!("{option}: {error}"));
            assert_eq!(
                (options.repl_set_name.as_deref(), options.max_pool_size),
                (Some("rs0"), None),
                "{option}"
            );
        }
        assert_eq!(parse("mongodb://h/?maxPoolSize=7").await.unwrap().max_pool_size, Some(7));
    }
}
