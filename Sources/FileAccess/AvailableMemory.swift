/// The memory that this process can still fill, with pages of its own or of files.
///
/// The memory that the system has available, or less where a control group of the process leaves less. Pages of files
/// that are cached count as available: the kernel drops them for others.
public enum AvailableMemory {
  /// - Returns: bytes; nil where the system does not say.
  public static func byteCount() -> Int? { byteCount(reading: SystemText.contents) }

  /// - Parameter text: the text of a file, nil for one that cannot be read.
  static func byteCount(reading text: (String) -> String?) -> Int? {
    var counts: [Int] = []
    if let information = text("/proc/meminfo"), let count = available(memoryInformation: information) {
      counts.append(count)
    }
    if let groups = text("/proc/self/cgroup"), let mounts = text("/proc/self/mountinfo") {
      counts += ControlGroup.all(groups: groups, mounts: mounts).compactMap { $0.availableByteCount(reading: text) }
    }
    return counts.min()
  }

  /// The figure of `MemAvailable`, in bytes, from the text of `/proc/meminfo` (proc_meminfo(5)).
  static func available(memoryInformation text: String) -> Int? {
    guard let kibibytes = SystemText.number(of: "MemAvailable:", in: text) else { return nil }
    let (bytes, overflow) = kibibytes.multipliedReportingOverflow(by: 1024)
    return overflow ? nil : bytes
  }
}

/// A control group that limits the memory of its processes (cgroups(7)), of version 1 or 2.
struct ControlGroup: Hashable {
  let directory: String
  let version: Int

  /// The groups that a process is in, from its own up to the outermost that can be seen.
  /// - Parameters:
  ///   - groups: the text of `/proc/self/cgroup`.
  ///   - mounts: the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
  static func all(groups: String, mounts: String) -> [ControlGroup] {
    var result: [ControlGroup] = []
    for line in groups.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let version: Int
      if parts[0] == "0", parts[1].isEmpty {
        version = 2
      } else if parts[1].split(separator: ",").contains("memory") {
        version = 1
      } else {
        continue
      }
      guard let mount = mount(version: version, in: mounts) else { continue }
      // A mount may show a part of the hierarchy only: the path in it is what follows the part's root.
      let path = parts[2].split(separator: "/")
      let root = mount.root.split(separator: "/")
      var inside = path.starts(with: root) ? Array(path.dropFirst(root.count)) : []
      if inside.contains("..") { inside = [] }
      for count in stride(from: inside.count, through: 0, by: -1) {
        let directory = ([mount.point] + inside.prefix(count)).joined(separator: "/")
        result.append(ControlGroup(directory: String(directory), version: version))
      }
    }
    return result
  }

  private static func mount(version: Int, in mounts: String) -> (root: Substring, point: Substring)? {
    for line in mounts.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard let dash = words.firstIndex(of: "-"), dash >= 6, words.count > dash + 3 else { continue }
      let isWanted =
        version == 2
        ? words[dash + 1] == "cgroup2"
        : words[dash + 1] == "cgroup" && words[dash + 3].split(separator: ",").contains("memory")
      if isWanted { return (words[3], words[4]) }
    }
    return nil
  }

  /// The bytes that the group's limit leaves when cached pages of files make room.
  /// - Returns: nil for a group without a limit, and for one whose files cannot be read.
  func availableByteCount(reading text: (String) -> String?) -> Int? {
    func number(_ name: String) -> Int? {
      text("\(directory)/\(name)").flatMap { Int($0.split(separator: "\n").first ?? "") }
    }
    // A group above `memory.high` is slowed down; it cannot exceed the other limits.
    let limits = (version == 2 ? ["memory.max", "memory.high"] : ["memory.limit_in_bytes"]).compactMap(number)
    // Version 1 has a huge number for no limit.
    guard let limit = limits.min(), limit < 1 << 60,
      let usage = number(version == 2 ? "memory.current" : "memory.usage_in_bytes"),
      let statistics = text("\(directory)/memory.stat")
    else { return nil }
    let prefix = version == 2 ? "" : "total_"
    let cached = ["inactive_file", "active_file"].reduce(0) {
      $0 + max(0, SystemText.number(of: prefix + $1, in: statistics) ?? 0)
    }
    return max(0, limit - max(0, usage - cached))
  }
}
