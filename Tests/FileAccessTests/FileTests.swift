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
  private func publish(_ path: String, _ bytes: [UInt8], as name: String? = nil) throws(Refusal) {
    var file = try PublishedFile(creating: path)
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
