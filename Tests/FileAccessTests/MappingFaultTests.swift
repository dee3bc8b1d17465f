import FileAccess
import Glibc
import Testing

/// A mapped file that loses pages ends the work that reads them, not the process.
@Suite(.serialized) struct MappingFaultTests {
  private static let page = Int(sysconf(Int32(_SC_PAGESIZE)))

  private func sum(_ file: MappedFile) -> Int {
    let bytes = file.bytes.array
    return bytes.reduce(0) { $0 + Int($1) }
  }

  /// Wherever the file ends now, also within a page that is still there, where zeros are read without a signal.
  @Test(arguments: [0, 1, 4095, 4096, 5 * 4096 - 1, 5 * 4096, 5 * 4096 + 99]) func cutShort(byteCount: Int) throws {
    let workplace = try Workplace()
    let path = try workplace.file("a", [UInt8](repeating: 7, count: 5 * Self.page + 100))
    let (file, other) = (try MappedFile(path), try MappedFile(try workplace.file("b", [1, 2, 3])))
    #expect(sum(file) == 7 * file.byteCount)
    try file.requireWhole()
    try #require(unsafe truncate(path, byteCount) == 0)
    #expect(sum(file) <= 7 * max(byteCount, 5 * Self.page))
    #expect(!file.isWhole)
    #expect(refusal { () throws(Refusal) in try file.requireWhole() } == "file-changed")
    #expect(MappingFaults.first?.name.exitStatus == .inputOutput)
    // For ever, whatever becomes of the file.
    try #require(unsafe truncate(path, file.byteCount) == 0)
    #expect(!file.isWhole)
    try other.requireWhole()
    #expect(sum(other) == 6)
  }

  /// What was not read since is not trusted either.
  @Test func cutShortWithoutReading() throws {
    let workplace = try Workplace()
    let path = try workplace.file("a", [UInt8](repeating: 7, count: 3 * Self.page))
    let file = try MappedFile(path)
    try #require(unsafe truncate(path, Self.page) == 0)
    #expect(!file.isWhole)
  }

  /// Zeros at the end are no fault, and neither is a mapping at the address of one that was lost.
  @Test func wholeFiles() throws {
    let workplace = try Workplace()
    for count in [0, 1, 4096, 8192, 10_000] {
      for value: UInt8 in [0, 9] {
        let path = try workplace.file("a", [UInt8](repeating: value, count: count))
        do {
          let file = try MappedFile(path)
          _ = sum(file)
          try file.requireWhole()
          try #require(unsafe truncate(path, 0) == 0)
          _ = sum(file)
        }
        let again = try MappedFile(try workplace.file("b", [UInt8](repeating: value, count: count)))
        #expect(sum(again) == Int(value) * count)
        try again.requireWhole()
      }
    }
  }

  /// Many threads read a file while it goes.
  @Test func cutShortWhileThreadsRead() async throws {
    let workplace = try Workplace()
    let path = try workplace.file("a", [UInt8](repeating: 7, count: 400 * Self.page))
    let file = try MappedFile(path)
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 { group.addTask { for _ in 0..<20 { _ = self.sum(file) } } }
      group.addTask { unsafe _ = truncate(path, 100 * Self.page) }
    }
    #expect(!file.isWhole)
  }

  /// A program's own handler gets what is not ours: faults elsewhere and signals that somebody sent.
  @Test func otherFaults() throws {
    let workplace = try Workplace()
    defer {
      MappingFaults.areHandled = false
      signal(SIGBUS, SIG_DFL)
      MappingFaults.areHandled = true
    }
    MappingFaults.areHandled = false
    #expect(!MappingFaults.areHandled)
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_sigaction = { _, info, _ in
      unsafe handledFaults += 1
      // Only of a fault.
      guard let info = unsafe info, unsafe info.pointee.si_code > 0,
        let address = unsafe info.pointee._sifields._sigfault.si_addr
      else { return }
      let start = UInt(bitPattern: address) / 4096 * 4096
      unsafe _ = mmap(
        UnsafeMutableRawPointer(bitPattern: start), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)
    }
    action.sa_flags = SA_SIGINFO
    try #require(unsafe sigaction(SIGBUS, &action, nil) == 0)
    MappingFaults.areHandled = true
    #expect(MappingFaults.areHandled)

    let path = try workplace.file("a", [UInt8](repeating: 7, count: 2 * Self.page))
    let descriptor = unsafe open(path, O_RDONLY)
    let foreign = unsafe mmap(nil, 2 * Self.page, PROT_READ, MAP_SHARED, descriptor, 0)
    defer { unsafe _ = munmap(foreign, 2 * Self.page) }
    close(descriptor)
    let ours = try MappedFile(path)
    try #require(unsafe truncate(path, 0) == 0)
    unsafe handledFaults = 0
    #expect(sum(ours) == 0)
    #expect(unsafe handledFaults == 0)
    #expect(unsafe foreign?.load(fromByteOffset: 1, as: UInt8.self) == 0)
    #expect(unsafe handledFaults == 1)
    raise(SIGBUS)
    #expect(unsafe handledFaults == 2)
    // Ours still works.
    #expect(!ours.isWhole)
  }
}

/// Of the handler above, which can capture nothing.
nonisolated(unsafe) private var handledFaults = 0
