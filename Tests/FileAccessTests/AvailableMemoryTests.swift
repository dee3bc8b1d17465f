import Testing

@testable import FileAccess

/// The figures must be those of the process's own group; otherwise a pack is read for every token without need, or the
/// kernel kills the process.
@Suite struct AvailableMemoryTests {
  static let information = "MemTotal:       24000000 kB\nMemFree:          100000 kB\nMemAvailable:    8000000 kB\n"

  func available(_ files: [String: String]) -> Int? { AvailableMemory.byteCount { files[$0] } }

  @Test func systemAlone() {
    #expect(available(["/proc/meminfo": Self.information]) == 8_000_000 * 1024)
    #expect(available(["/proc/meminfo": "MemTotal: 24000000 kB\n"]) == nil)
    #expect(available(["/proc/meminfo": "MemAvailable: 99999999999999999 kB\n"]) == nil)
    #expect(available([:]) == nil)
  }

  /// Version 1 beside a version 2 that has no memory controller; the parent's limit is the tighter one.
  @Test func versionOne() {
    var files = [
      "/proc/meminfo": Self.information,
      "/proc/self/cgroup": "8:pids:/jobs\n4:cpu,memory:/jobs/one\n0::/\n",
      "/proc/self/mountinfo": """
      20 1 8:1 / / rw,relatime - ext4 /dev/root rw
      31 20 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,cpu,memory
      40 20 0:35 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
      """,
      "/sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes": "2000000000\n",
      "/sys/fs/cgroup/memory/jobs/one/memory.usage_in_bytes": "1500000000\n",
      "/sys/fs/cgroup/memory/jobs/one/memory.stat":
        "inactive_file 5\ntotal_inactive_file 900000000\ntotal_active_file 100000000\n",
      "/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes": "1000000000\n",
      "/sys/fs/cgroup/memory/jobs/memory.usage_in_bytes": "400000000\n",
      "/sys/fs/cgroup/memory/jobs/memory.stat": "total_inactive_file 0\ntotal_active_file 100000000\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "900000000\n",
      "/sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\ntotal_active_file 0\n",
    ]
    #expect(available(files) == 700_000_000)
    files["/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes"] = "9223372036854771712\n"
    #expect(available(files) == 1_500_000_000)
    // More in use than the limit: nothing is left.
    files["/sys/fs/cgroup/memory/jobs/one/memory.stat"] = "total_inactive_file 0\ntotal_active_file 0\n"
    files["/sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes"] = "1000000\n"
    #expect(available(files) == 0)
  }

  /// `max` is no limit; `memory.high` is one.
  @Test func versionTwo() {
    var files = [
      "/proc/meminfo": Self.information, "/proc/self/cgroup": "0::/user.slice/job\n",
      "/proc/self/mountinfo": "24 20 0:22 / /sys/fs/cgroup rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
      "/sys/fs/cgroup/user.slice/job/memory.max": "max\n",
      "/sys/fs/cgroup/user.slice/job/memory.high": "1073741824\n",
      "/sys/fs/cgroup/user.slice/job/memory.current": "73741824\n",
      "/sys/fs/cgroup/user.slice/job/memory.stat": "anon 40000000\ninactive_file 3000000\nactive_file 20000000\n",
    ]
    #expect(available(files) == 1_073_741_824 - 50_741_824)
    files["/sys/fs/cgroup/user.slice/job/memory.high"] = "max\n"
    #expect(available(files) == 8_000_000 * 1024)
  }

  /// A container sees its own part of the hierarchy, under a path that starts further up; or a path outside of it.
  @Test func partOfTheHierarchy() {
    let mounts = "24 20 0:22 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup ro\n"
    #expect(
      ControlGroup.all(groups: "0::/docker/abc/inner\n", mounts: mounts)
        == [
          ControlGroup(directory: "/sys/fs/cgroup/inner", version: 2),
          ControlGroup(directory: "/sys/fs/cgroup", version: 2),
        ])
    let outside = [ControlGroup(directory: "/sys/fs/cgroup", version: 2)]
    #expect(ControlGroup.all(groups: "0::/other\n", mounts: mounts) == outside)
    #expect(ControlGroup.all(groups: "0::/docker/abc/../def\n", mounts: mounts) == outside)
    #expect(ControlGroup.all(groups: "nonsense\n4:memory\n", mounts: mounts).isEmpty)
    #expect(ControlGroup.all(groups: "0::/\n", mounts: "24 20 0:22 / /sys\n").isEmpty)
  }

  @Test func thisSystem() throws {
    #expect(try #require(AvailableMemory.byteCount()) > 0)
  }
}

@Suite struct ReadAheadTests {
  /// What was dropped, or dropped while it was read, is read again from the file.
  @Test func bytesStayTheSame() throws {
    let workplace = try Workplace()
    let bytes = (0..<9_000_001).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 11) }
    let file = try MappedFile(try workplace.file("a", bytes), keepsOpen: true)
    let ahead = ReadAhead(file)
    for _ in 0..<3 {
      for range in [0..<3_000_000, 3_000_000..<8_999_999, 8_999_999..<9_000_001] {
        ahead.read(range)
        let read = file.bytes.extracting(range).array
        #expect(read == Array(bytes[range]))
        ahead.drop(range)
      }
    }
    let read = file.bytes.array
    #expect(read == bytes)
  }
}
