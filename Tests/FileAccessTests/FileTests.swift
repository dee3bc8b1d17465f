import FaultInjection
import FileAccess
import Glibc
import Testing

@Suite struct MappedFileTests {
  @Test func wholeFile() throws {
    let workplace = try Workplace()
    let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
    let file = try MappedFile(try workplace.file("a", bytes))
    #expect(file.byteCount == 10_000)
    let read = file.bytes.array
    #expect(read == bytes)
    file.advise(.willNeed, 0..<10_000)
    file.advise(.release, 5_000..<20_000)
    file.advise(.willNeed, -5..<0)
    let again = file.bytes.array
    #expect(again == bytes)
  }

  @Test func emptyFile() throws {
    let workplace = try Workplace()
    let file = try MappedFile(try workplace.file("a", []))
    let count = file.bytes.byteCount
    #expect(count == 0)
    file.advise(.willNeed, 0..<0)
  }

  /// The mapping outlives the name.
  @Test func removedFile() throws {
    let workplace = try Workplace()
    let path = try workplace.file("a", [1, 2, 3])
    let file = try MappedFile(path)
    try Directory.removeFile(path)
    let read = file.bytes.array
    #expect(read == [1, 2, 3])
  }

  /// A FIFO is refused, not waited for.
  @Test func refusals() throws {
    let workplace = try Workplace()
    let path = workplace.path
    #expect(refusal { () throws(Refusal) in _ = try MappedFile("\(path)/none") } == "missing-file")
    #expect(refusal { () throws(Refusal) in _ = try MappedFile(path) } == "not-a-regular-file")
    try #require(unsafe mkfifo("\(path)/fifo", 0o600) == 0)
    #expect(refusal { () throws(Refusal) in _ = try MappedFile("\(path)/fifo") } == "not-a-regular-file")
    #expect(refusal { () throws(Refusal) in _ = try MappedFile("/dev/null") } == "not-a-regular-file")
    let file = try workplace.file("a", [1])
    #expect(refusal { () throws(Refusal) in _ = try MappedFile("\(file)/b") } == "not-a-directory")
  }
}

@Suite struct PublishedFileTests {
  private func publish(
    _ path: String, _ bytes: [UInt8], as name: String? = nil, unnamed: Bool = false
  ) throws(Refusal) {
    var file = try PublishedFile(creating: path, unnamed: unnamed)
    try file.append(bytes)
    if let name { try file.publish(as: name) } else { try file.publish() }
  }

  @Test func appearsWhole() throws {
    let workplace = try Workplace()
    let path = "\(workplace.path)/a"
    do {
      var file = try PublishedFile(creating: path, mode: 0o400)
      try file.append([1, 2])
      try file.append([3])
      try file.resize(to: 5)
      let nine: [UInt8] = [9]
      try unsafe file.write(nine.span.bytes, at: 4)
      #expect(Directory.exists(path) == nil)
      try file.publish()
    }
    #expect(try SequentialFile.contents(path, limit: 10) == [1, 2, 3, 0, 9])
    #expect(try Directory.names(in: workplace.path) == ["a"])
  }

  /// The order that makes it durable: data before name, name before its directory.
  @Test(arguments: [nil, "b"]) func order(name: String?) throws {
    let workplace = try Workplace()
    let calls = FaultSchedule()
    try FileOperation.withProbe(calls) { try publish("\(workplace.path)/a", [1], as: name) }
    let kinds = calls.operations.map { String("\($0)".prefix { $0 != "(" }) }
    #expect(kinds == ["create", "write", "synchronize", "rename", "open", "synchronizeDirectory"])
  }

  /// The same for a file that has no name until then: what has its name is replaced by renaming.
  @Test(arguments: [nil, "b"], [false, true]) func orderOfUnnamed(name: String?, replacing: Bool) throws {
    let workplace = try Workplace()
    if replacing { _ = try workplace.file(name ?? "a", [2]) }
    let calls = FaultSchedule()
    let error = FileOperation.withProbe(calls) {
      refusal { () throws(Refusal) in try publish("\(workplace.path)/a", [1], as: name, unnamed: true) }
    }
    #expect(error == (replacing && name != nil ? "already-exists" : nil))
    let kinds = calls.operations.map { String("\($0)".prefix { $0 != "(" }) }
    let naming = !replacing ? ["link"] : name == nil ? ["link", "link", "rename"] : ["link"]
    let durable = error == nil ? ["open", "synchronizeDirectory"] : []
    #expect(kinds == ["createUnnamed", "lock", "write", "synchronize"] + naming + durable)
  }

  /// Whichever call fails, before or after its work, nothing but the file itself is left, and that only once it has its
  /// name.
  @Test(arguments: [FileFault.before(EIO), .after(EIO), .before(ENOSPC), .after(EDQUOT)], [nil, "b"])
  func failure(fault: FileFault, name: String?) throws {
    let isAfter = fault == .after(EIO) || fault == .after(EDQUOT)
    let isFailing = fault == .before(EIO) || fault == .after(EIO)
    for number in 0..<6 {
      let workplace = try Workplace()
      let faults = FaultSchedule(fault, at: number)
      let error = FileOperation.withProbe(faults) {
        refusal { () throws(Refusal) in try publish("\(workplace.path)/a", [1], as: name) }
      }
      #expect(faults.faultCount == 1)
      #expect(error == (!isFailing ? "no-space" : number == 0 ? "cannot-create" : "input-output"))
      let isRenamed = number > (isAfter ? 2 : 3)
      #expect(try Directory.names(in: workplace.path) == (isRenamed ? [name ?? "a"] : []), "\(number)")
    }
  }

  /// The same without a name, whether a file is replaced or not.
  @Test(arguments: [FileFault.before(EIO), .after(EIO), .before(ENOSPC), .after(EDQUOT)], [false, true])
  func failureOfUnnamed(fault: FileFault, replacing: Bool) throws {
    let isAfter = fault == .after(EIO) || fault == .after(EDQUOT)
    let isFailing = fault == .before(EIO) || fault == .after(EIO)
    for number in 0..<(replacing ? 9 : 7) {
      let workplace = try Workplace()
      if replacing { _ = try workplace.file("a", [2]) }
      let faults = FaultSchedule(fault, at: number)
      let error = FileOperation.withProbe(faults) {
        refusal { () throws(Refusal) in try publish("\(workplace.path)/a", [1], unnamed: true) }
      }
      #expect(faults.faultCount == 1)
      // The first attempt to name a file fails all the same when another one has the name.
      let expected = !isFailing ? "no-space" : number < 2 ? "cannot-create" : "input-output"
      #expect(error == (replacing && isAfter && number == 4 ? nil : expected), "\(number)")
      let isNamed = error == nil || number > (replacing ? 6 : 4) || isAfter && number == (replacing ? 6 : 4)
      #expect(try Directory.names(in: workplace.path) == (isNamed || replacing ? ["a"] : []), "\(number)")
      guard isNamed || replacing else { continue }
      #expect(try SequentialFile.contents("\(workplace.path)/a", limit: 1) == (isNamed ? [1] : [2]), "\(number)")
    }
  }

  /// Where the file system has no unnamed files, there is a temporary name with a lock.
  @Test func fileSystemWithoutUnnamedFiles() throws {
    let workplace = try Workplace()
    let path = "\(workplace.path)/a"
    try FileOperation.withProbe(FaultSchedule(.before(EOPNOTSUPP))) { () throws(Refusal) in
      var file = try PublishedFile(creating: path, unnamed: true)
      let names = try Directory.names(in: workplace.path)
      #expect(names.count == 1 && names[0].hasPrefix(".a.") && names[0].hasSuffix(".partial"))
      // It is being written, so it is no remainder.
      PublishedFile.removeRemains(of: path)
      #expect(try Directory.names(in: workplace.path) == names)
      try file.append([1])
      try file.publish()
    }
    #expect(try Directory.names(in: workplace.path) == ["a"])
    #expect(try SequentialFile.contents(path, limit: 1) == [1])
  }

  /// Such a file goes when its lock fails, and needs none where there are no locks.
  @Test(arguments: [(EIO, "cannot-create"), (ENOLCK, nil)]) func failingLock(code: Int32, name: String?) throws {
    let workplace = try Workplace()
    let probe = WithoutUnnamedFiles(lockFault: code)
    let error = FileOperation.withProbe(probe) {
      refusal { () throws(Refusal) in try publish("\(workplace.path)/a", [1], unnamed: true) }
    }
    #expect(error == name)
    #expect(try Directory.names(in: workplace.path) == (name == nil ? ["a"] : []))
  }

  private struct WithoutUnnamedFiles: FileProbe {
    let lockFault: Int32

    func fault(in operation: FileOperation) -> FileFault? {
      switch operation {
      case .createUnnamed: .before(EOPNOTSUPP)
      case .lock: .before(lockFault)
      default: nil
      }
    }

    func happened(_ operation: FileOperation, written: RawSpan) {}
  }

  /// What killed processes left of a file is removed, and nothing else.
  @Test func remains() throws {
    let workplace = try Workplace()
    let remains = [
      ".a.spk.12ab.partial", ".a.spk.calibration.partial", "..a.spk.12ab.partial.fedcba9876543210.partial",
      "..a.spk.calibration.partial.0.partial",
    ]
    let others = [
      "a.spk", ".a.spk.partial", ".a.spk..partial", ".a.spk.12xy.partial", ".a.spk.00000000000000000.partial",
      ".b.a.spk.12ab.partial", "a.spk.12ab.partial", ".a.spk.12ab.other", ".b.spk.12ab.partial", ".12ab.partial",
    ]
    for name in remains + others { _ = try workplace.file(name, [1]) }
    try Directory.create("\(workplace.path)/.a.spk.1.partial")
    try #require(unsafe symlink("a.spk", "\(workplace.path)/.a.spk.2.partial") == 0)
    try #require(unsafe mkfifo("\(workplace.path)/.a.spk.3.partial", 0o600) == 0)
    PublishedFile.removeRemains(of: "\(workplace.path)/a.spk")
    let left = Set(others + [".a.spk.1.partial", ".a.spk.2.partial", ".a.spk.3.partial"])
    #expect(try Set(Directory.names(in: workplace.path)) == left)
    PublishedFile.removeRemains(of: "\(workplace.path)/none/a")
  }

  /// A file that cannot be removed is left, as by a killed process.
  @Test func failingRemoval() throws {
    let workplace = try Workplace()
    let faults = FaultSchedule(.before(EIO), at: 2, persistently: true)
    let error = FileOperation.withProbe(faults) {
      refusal { () throws(Refusal) in try publish("\(workplace.path)/a", [1]) }
    }
    #expect(error == "input-output")
    #expect(faults.operations.count == 4)
    #expect(try Directory.names(in: workplace.path).map { $0.hasSuffix(".partial") } == [true])
  }

  /// Calls that end early or are interrupted are continued.
  @Test(arguments: [FileFault.short(1), .short(3)]) func shortCalls(fault: FileFault) throws {
    let workplace = try Workplace()
    let path = "\(workplace.path)/a"
    let bytes = (0..<100).map { UInt8($0) }
    let faults = FaultSchedule(fault, persistently: true)
    let read = try FileOperation.withProbe(faults) { () throws(Refusal) -> [UInt8] in
      try publish(path, bytes)
      return try SequentialFile.contents(path, limit: 100)
    }
    #expect(read == bytes)
    #expect(faults.operations.count > 60)
    for number in 0..<9 {
      try FileOperation.withProbe(FaultSchedule(.before(EINTR), at: number)) { () throws(Refusal) in
        try publish(path, [1, 2])
        #expect(try SequentialFile.contents(path, limit: 2) == [1, 2])
      }
    }
    // A file that shrinks while it is read, and a disk that takes nothing.
    let ends = FaultSchedule(.short(0), at: 1)
    #expect(
      FileOperation.withProbe(ends) {
        refusal { () throws(Refusal) in _ = try SequentialFile.contents(path, limit: 2) }
      }
        == "truncated")
    let full = FaultSchedule(.short(0), at: 1)
    #expect(FileOperation.withProbe(full) { refusal { () throws(Refusal) in try publish(path, [1]) } } == "no-space")
  }

  @Test func abandonedUnnamed() throws {
    let workplace = try Workplace()
    var file = try PublishedFile(creating: "\(workplace.path)/a", unnamed: true)
    try file.append([1])
    #expect(try Directory.names(in: workplace.path).isEmpty)
  }

  @Test func abandoned() throws {
    let workplace = try Workplace()
    do {
      var file = try PublishedFile(creating: "\(workplace.path)/a")
      try file.append([1])
      let names = try Directory.names(in: workplace.path)
      #expect(names.count == 1 && names[0].hasPrefix(".a.") && names[0].hasSuffix(".partial"))
    }
    #expect(try Directory.names(in: workplace.path).isEmpty)
  }

  @Test func replacing() throws {
    let workplace = try Workplace()
    let path = try workplace.file("a", [1])
    try publish(path, [2])
    #expect(try SequentialFile.contents(path, limit: 10) == [2])
    #expect(refusal { () throws(Refusal) in try publish("\(workplace.path)/c", [3], as: "a") } == "already-exists")
    #expect(try SequentialFile.contents(path, limit: 10) == [2])
    #expect(try Directory.names(in: workplace.path) == ["a"])
    let missing = "\(workplace.path)/none/a"
    #expect(refusal { () throws(Refusal) in try publish(missing, [3]) } == "cannot-create")
  }
}

@Suite struct FileStatusTests {
  /// A file is the same under all its names, and no other.
  @Test func identity() throws {
    let workplace = try Workplace()
    let (a, b) = (try workplace.file("a", [1]), try workplace.file("b", [1]))
    let (hard, soft, dangling) = ("\(workplace.path)/hard", "\(workplace.path)/soft", "\(workplace.path)/dangling")
    try #require(unsafe link(a, hard) == 0)
    try #require(unsafe symlink("a", soft) == 0)
    try #require(unsafe symlink("none", dangling) == 0)
    let status = try #require(FileStatus(a))
    #expect(FileStatus(hard) == status && FileStatus(soft) == status)
    #expect(FileStatus(b) != status)
    #expect(FileStatus(dangling) == nil)
    #expect(FileStatus.followingLink(soft)?.hasSuffix("/a") == true)
    #expect(FileStatus.followingLink(hard) == hard)
    #expect(FileStatus.followingLink(dangling) == nil)
    #expect(FileStatus.followingLink("\(workplace.path)/none") == "\(workplace.path)/none")
  }

  @Test func kinds() throws {
    let workplace = try Workplace()
    try #require(unsafe mkfifo("\(workplace.path)/fifo", 0o600) == 0)
    #expect(FileStatus("\(workplace.path)/fifo")?.kind == .pipe)
    #expect(FileStatus(workplace.path)?.kind == .directory)
    #expect(FileStatus("/dev/null")?.kind == .device)
    #expect(FileStatus(try workplace.file("a", []))?.kind == .regularFile)
  }
}

@Suite struct SequentialFileTests {
  @Test func pieces() throws {
    let workplace = try Workplace()
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
    let path = try workplace.file("a", bytes)
    let file = try SequentialFile(path)
    #expect(file.byteCount == 1000)
    func read(_ offset: Int, _ count: Int) throws(Refusal) -> [UInt8] {
      var buffer = [UInt8](repeating: 0, count: count)
      var span = buffer.mutableSpan
      var raw = unsafe span.mutableBytes
      try file.read(at: offset, into: &raw)
      return buffer
    }
    #expect(try read(0, 1000) == bytes)
    #expect(try read(990, 10) == Array(bytes[990...]))
    #expect(try read(1000, 0) == [])
    #expect(refusal { () throws(Refusal) in _ = try read(991, 10) } == "truncated")
    file.release(0..<1000)
    #expect(refusal { () throws(Refusal) in _ = try SequentialFile.contents(path, limit: 999) } == "too-large")
    try #require(unsafe symlink("a", "\(workplace.path)/link") == 0)
    let link = "\(workplace.path)/link"
    #expect(refusal { () throws(Refusal) in _ = try SequentialFile.contents(link, limit: 1000) } == nil)
    #expect(
      refusal { () throws(Refusal) in _ = try SequentialFile(link, followingLinks: false) } == "not-a-regular-file")
    #expect(refusal { () throws(Refusal) in _ = try SequentialFile(workplace.path) } == "not-a-regular-file")
  }
}

@Suite struct DirectoryTests {
  @Test func names() throws {
    let workplace = try Workplace()
    for name in ["b", "a", "\u{E9}", "B", ".c"] { _ = try workplace.file(name, []) }
    try Directory.create("\(workplace.path)/d")
    #expect(try Directory.names(in: workplace.path) == [".c", "B", "a", "b", "d", "\u{E9}"])
    #expect(refusal { () throws(Refusal) in _ = try Directory.names(in: "\(workplace.path)/none") } == "missing-file")
    #expect(refusal { () throws(Refusal) in _ = try Directory.names(in: "\(workplace.path)/a") } == "not-a-directory")
  }

  @Test func creation() throws {
    let workplace = try Workplace()
    let path = "\(workplace.path)/d"
    try Directory.create(path)
    try Directory.create(path)
    #expect(Directory.exists(path) == .directory)
    try Directory.synchronize(path)
    let file = try workplace.file("a", [])
    #expect(Directory.exists(file) == .file)
    #expect(refusal { () throws(Refusal) in try Directory.create(file) } == "not-a-directory")
    #expect(refusal { () throws(Refusal) in try Directory.create("\(path)/x/y") } == "cannot-create")
    _ = try workplace.file("d/x", [])
    #expect(refusal { () throws(Refusal) in try Directory.remove(path) } == "already-exists")
    #expect(refusal { () throws(Refusal) in try Directory.removeFile("\(path)/none") } == "missing-file")
    try Directory.removeTree(path)
    #expect(Directory.exists(path) == nil)
  }

  /// A tree is removed without following what links lead to.
  @Test func removalDoesNotFollowLinks() throws {
    let workplace = try Workplace()
    try Directory.create("\(workplace.path)/kept")
    _ = try workplace.file("kept/a", [1])
    try Directory.create("\(workplace.path)/tree")
    try #require(unsafe symlink("../kept", "\(workplace.path)/tree/link") == 0)
    try Directory.removeTree("\(workplace.path)/tree")
    #expect(try Directory.names(in: "\(workplace.path)/kept") == ["a"])
  }

  @Test func paths() {
    #expect(Directory.split("a") == (".", "a"))
    #expect(Directory.split("/a") == ("/", "a"))
    #expect(Directory.split("b/c/a") == ("b/c", "a"))
    #expect(Directory.split("b/c//") == ("b", "c"))
    #expect(Directory.split("c/") == (".", "c"))
    #expect(Directory.split("/") == ("/", ""))
  }

  /// One holder at a time; the kernel frees the lock of a holder that ends.
  @Test func lock() throws {
    let workplace = try Workplace()
    let path = "\(workplace.path)/LOCK"
    do {
      let held = try FileLock(exclusive: path)
      #expect(refusal { () throws(Refusal) in _ = try FileLock(exclusive: path) } == "busy")
      _ = consume held
    }
    #expect(refusal { () throws(Refusal) in _ = try FileLock(exclusive: path) } == nil)
    #expect(Directory.exists(path) == .file)
    try #require(unsafe symlink("LOCK", "\(workplace.path)/link") == 0)
    let link = "\(workplace.path)/link"
    #expect(refusal { () throws(Refusal) in _ = try FileLock(exclusive: link) } == "not-a-regular-file")
  }
}
