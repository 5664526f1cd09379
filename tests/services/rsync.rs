//! `rsync --daemon` behind tlssrv.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::tls_client;
use tlssrv_testing::account::is_root;
use tlssrv_testing::programs::{missing, program, run};
use tlssrv_testing::{Server, Site};

/// Bytes in the tree.
const TREE: usize = 64 << 20;

#[test]
fn a_tree_of_64_mib_comes_and_goes_through_rsync_byte_for_byte() {
    if missing(&["rsync", "socat"]) {
        return;
    }
    let site = Site::new().with_file("rsyncd.conf", "");
    let at = site.path().to_owned();
    let [tree, pulled, pushed] = ["tree", "pulled", "pushed"].map(|name| at.join(name));
    make_tree(&tree);
    fs::create_dir(&pushed).unwrap();
    fs::write(site.file("rsyncd.conf"), configuration(&at)).unwrap();
    let config = format!("--config={}", site.file("rsyncd.conf").display());
    let cafile = site.file("cert.pem");
    let server = Server::start_in(
        site,
        &[
            "--listen",
            "127.0.0.1:0",
            "-c",
            "cert.pem",
            "rsync",
            "--daemon",
            &config,
        ],
    );

    let port = server.address().port().to_string();
    let rsync = |from: &str, to: &str| {
        run(program("rsync")
            .current_dir(&at)
            .env("RSYNC_CONNECT_PROG", tls_client("%H", &port, &cafile))
            .args(["--archive", "--whole-file", "--timeout=120", from, to]))
        .succeeded();
    };
    let original = Tree::read(&tree);
    rsync("rsync://a.example/tree/", "pulled/");
    original.assert_equals(&Tree::read(&pulled));
    rsync("pulled/", "rsync://a.example/pushed/");
    original.assert_equals(&Tree::read(&pushed));

    let lines = server.wait_for_connections(2);
    for line in &lines {
        assert_eq!((line.value("exit"), line.value("end")), ("0", "closed"));
    }
    let bytes = |line: usize, key: &str| lines[line].value(key).parse::<usize>().unwrap();
    assert!(bytes(0, "out") > TREE && bytes(1, "in") > TREE);
}

/// Modules for the user of the tests. Only root must name it, because the daemon would run as nobody.
fn configuration(at: &Path) -> String {
    let user = match is_root() {
        true => "uid = 0\ngid = 0\n",
        false => "",
    };
    let at = at.display();
    format!(
        "use chroot = no\n\
         munge symlinks = no\n\
         log file = {at}/rsyncd.log\n\
         {user}\
         [tree]\n\
         path = {at}/tree\n\
         [pushed]\n\
         path = {at}/pushed\n\
         read only = no\n"
    )
}

/// Files of many sizes with incompressible contents; directories, some
/// empty; links, one to nowhere.
fn make_tree(at: &Path) {
    let sizes = [0, 1, 2, 511, 512, 4095, 4096, 4097, 16_383, 16_384, 16_385]
        .into_iter()
        .chain([65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, 24 << 20])
        .chain((0..600).map(|n| n * 37 % 9001));
    let (mut noise, mut left) = (Noise(1), TREE);
    for (number, size) in sizes.enumerate() {
        let directory = at.join(format!("{}/{}", number % 7, number % 3));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(format!("file {number} \u{e4}"));
        fs::write(&file, noise.bytes(size)).unwrap();
        let mode = if number % 2 == 0 { 0o640 } else { 0o755 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        left -= size;
    }
    fs::write(at.join("the rest"), noise.bytes(left)).unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    symlink("the rest", at.join("link")).unwrap();
    symlink("../nowhere/at all", at.join("0/dangling")).unwrap();
}

/// Xorshift (Marsaglia, 2003).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }
}

/// Everything below a directory, by relative path.
struct Tree(BTreeMap<PathBuf, Entry>);

#[derive(PartialEq, Eq)]
enum Entry {
    Directory { mode: u32 },
    Link(PathBuf),
    File { mode: u32, bytes: Vec<u8> },
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = BTreeMap::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let mode = metadata.mode();
                let entry = if metadata.is_dir() {
                    directories.push(path.clone());
                    Entry::Directory { mode }
                } else if metadata.is_symlink() {
                    Entry::Link(fs::read_link(&path).unwrap())
                } else {
                    let bytes = fs::read(&path).unwrap();
                    Entry::File { mode, bytes }
                };
                tree.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
            }
        }
        Self(tree)
    }

    fn assert_equals(&self, other: &Self) {
        let names = |tree: &Self| tree.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(other));
        for (path, entry) in &self.0 {
            // Not `assert_eq`, which would print all these bytes.
            assert!(other.0[path] == *entry, "{} differs", path.display());
        }
    }
}
