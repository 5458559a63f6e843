//! Decides where the MongoDB server for tests comes from: a pure function of environment variables and
//! `PATH`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::environment_variables::variable;
use crate::error::Error;
use crate::mongo_source::{Image, MongoSource};

const DEFAULT_IMAGE: &str = "mongo:7.0";

/// The inputs of the decision.
#[derive(Debug, Default, Clone)]
pub(crate) struct Environment {
    /// `AEGIS_TEST_MONGODB_URL`
    pub url: Option<String>,
    /// `AEGIS_MONGOD`
    pub mongod: Option<PathBuf>,
    /// `mongod` on `PATH`
    pub on_path: Option<PathBuf>,
    /// `AEGIS_TEST_MONGODB_IMAGE`
    pub image: Option<String>,
    /// `AEGIS_TEST_MONGODB_SOURCE`
    pub forced_source: Option<String>,
}

impl Environment {
    pub(crate) fn from_process() -> Self {
        Self {
            url: variable("AEGIS_TEST_MONGODB_URL"),
            mongod: variable("AEGIS_MONGOD").map(PathBuf::from),
            on_path: variable("PATH").and_then(|path| find_on(path.as_ref(), "mongod")),
            image: variable("AEGIS_TEST_MONGODB_IMAGE"),
            forced_source: variable("AEGIS_TEST_MONGODB_SOURCE"),
        }
    }

    /// Sources of the shared server, in order of preference.
    pub(crate) fn sources(&self) -> Result<Vec<MongoSource>, Error> {
        let Some(only) = self.forced_source.as_deref() else {
            return Ok(self.default_order());
        };
        match only {
            "url" => self.url.clone().map(MongoSource::Url).ok_or("AEGIS_TEST_MONGODB_URL is not set"),
            "mongod" => self
                .executable()
                .map(MongoSource::Executable)
                .ok_or("AEGIS_MONGOD is not set and mongod is not on PATH"),
            "docker" => Ok(MongoSource::Docker(self.image())),
            "wheel" => Ok(MongoSource::PyPi),
            _ => Err("must be url, mongod, docker or wheel"),
        }
        .map(|source| vec![source])
        .map_err(|problem| Error::Setting {
            name: "AEGIS_TEST_MONGODB_SOURCE",
            value: only.to_owned(),
            problem: problem.to_owned(),
        })
    }

    /// Sources of an executable, for private servers that a test stops and kills.
    pub(crate) fn executables(&self) -> Vec<MongoSource> {
        let found = self.executable().filter(|_| self.forced_source.as_deref() != Some("wheel"));
        let wheel = self.mongod.is_none().then_some(MongoSource::PyPi);
        found.map(MongoSource::Executable).into_iter().chain(wheel).collect()
    }

    fn default_order(&self) -> Vec<MongoSource> {
        if let Some(url) = &self.url {
            return vec![MongoSource::Url(url.clone())];
        }
        if let Some(mongod) = &self.mongod {
            return vec![MongoSource::Executable(mongod.clone())];
        }
        let on_path = self.on_path.clone().map(MongoSource::Executable);
        on_path.into_iter().chain([MongoSource::Docker(self.image()), MongoSource::PyPi]).collect()
    }

    fn executable(&self) -> Option<PathBuf> {
        self.mongod.clone().or_else(|| self.on_path.clone())
    }

    fn image(&self) -> Image {
        Image::parse(self.image.as_deref().unwrap_or(DEFAULT_IMAGE))
    }
}

fn find_on(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker() -> MongoSource {
        MongoSource::Docker(Image { name: "mongo".into(), tag: "7.0".into() })
    }

    fn with(change: impl FnOnce(&mut Environment)) -> Environment {
        let mut environment = Environment::default();
        change(&mut environment);
        environment
    }

    #[test]
    fn default_order_is_docker_then_pypi() {
        assert_eq!(Environment::default().sources().unwrap(), [docker(), MongoSource::PyPi]);
    }

    #[test]
    fn mongod_on_path_is_tried_first_with_fallbacks() {
        let environment = with(|e| e.on_path = Some("/usr/bin/mongod".into()));
        let expected = [MongoSource::Executable("/usr/bin/mongod".into()), docker(), MongoSource::PyPi];
        assert_eq!(environment.sources().unwrap(), expected);
    }

    #[test]
    fn named_executable_has_no_fallback() {
        let environment = with(|e| {
            e.mongod = Some("/opt/mongod".into());
            e.on_path = Some("/usr/bin/mongod".into());
        });
        assert_eq!(environment.sources().unwrap(), [MongoSource::Executable("/opt/mongod".into())]);
        assert_eq!(environment.executables(), [MongoSource::Executable("/opt/mongod".into())]);
    }

    #[test]
    fn url_takes_precedence_without_fallback() {
        let environment = with(|e| {
            e.url = Some("mongodb://db".into());
            e.mongod = Some("/opt/mongod".into());
        });
        assert_eq!(environment.sources().unwrap(), [MongoSource::Url("mongodb://db".into())]);
    }

    #[test]
    fn private_servers_use_an_executable_even_with_a_url() {
        let environment = with(|e| {
            e.url = Some("mongodb://db".into());
            e.on_path = Some("/usr/bin/mongod".into());
        });
        assert_eq!(
            environment.executables(),
            [MongoSource::Executable("/usr/bin/mongod".into()), MongoSource::PyPi]
        );
    }

    #[test]
    fn source_can_be_forced() {
        let only = |value: &str| with(|e| e.forced_source = Some(value.into()));
        assert_eq!(only("docker").sources().unwrap(), [docker()]);
        assert_eq!(only("wheel").sources().unwrap(), [MongoSource::PyPi]);
        for impossible in ["url", "mongod", "podman"] {
            let message = only(impossible).sources().unwrap_err().to_string();
            assert!(message.starts_with("AEGIS_TEST_MONGODB_SOURCE="), "{message}");
        }
    }

    #[test]
    fn image_is_a_reference_or_a_mongo_tag() {
        for (text, image) in [
            ("mongo:8.0", "mongo:8.0"),
            ("8.0", "mongo:8.0"),
            ("localhost:5000/mongo", "localhost:5000/mongo:latest"),
            ("localhost:5000/mongo:6", "localhost:5000/mongo:6"),
        ] {
            assert_eq!(Image::parse(text).to_string(), image);
        }
    }

    #[test]
    fn no_mongo_error_lists_attempts_and_remedies() {
        let tried = vec![
            (docker(), Error::DockerUnavailable("no socket".into())),
            (MongoSource::PyPi, Error::PyPi("no pip".into())),
        ];
        let message = Error::NoMongoFound(tried).to_string();
        for part in [
            "mongo:7.0: no Docker engine answers (no socket)",
            "no pip",
            "AEGIS_MONGOD=",
            "python3-pip",
            "AEGIS_TEST_MONGODB_URL=",
        ] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
    }
}
