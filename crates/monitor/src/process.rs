//! What the operating system says about this process, read from `/proc`; nothing where there is no such folder.

/// The present use of resources.
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) open_files: u64,
}

pub(crate) fn usage() -> Option<Usage> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let kilobytes: u64 =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.trim().trim_end_matches(" kB").parse().ok()?;
    let open_files = fs_err::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(Usage { resident_bytes: kilobytes * 1024, open_files })
}
