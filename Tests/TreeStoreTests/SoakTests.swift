import ContextTrees
import FileAccess
import Glibc
import Testing

@testable import TreeStore

/// Many operations in one process: memory, descriptors and disk stay as they are, and the store has what a dictionary
/// has. SHAREDPACK_SOAK says how many operations; without it, as many as take some seconds.
@Suite struct SoakTests {
  private static var operationCount: Int {
    unsafe getenv("SHAREDPACK_SOAK").flatMap { unsafe Int(String(cString: $0)) } ?? 1_500
  }

  private struct Figures: CustomStringConvertible {
    var privateByteCount = 0
    var descriptorCount = 0
    var diskByteCount = 0

    init(_ workplace: Workplace) throws {
      // Other tests of this process have files of their own.
      descriptorCount = try Directory.names(in: "/proc/self/fd").count {
        Self.target(of: "/proc/self/fd/\($0)").starts(with: workplace.path.utf8)
      }
      diskByteCount = try TreeStoreWriter.measure(workplace.store)
      privateByteCount = ProcessMemory.privateByteCount() ?? 0
    }

    private static func target(of link: String) -> [UInt8] {
      var target = [CChar](repeating: 0, count: 4096)
      let count = unsafe readlink(link, &target, target.count)
      return target.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }
    }

    var description: String {
      "\(privateByteCount >> 10) KiB of memory, \(descriptorCount) descriptors, \(diskByteCount) bytes on disk"
    }
  }

  @Test(arguments: [0, 400_000]) func mixedOperations(limit: Int) throws {
    let workplace = try Workplace.inMemory()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    writer.setByteLimit(limit)
    try writer.commit()
    var random = HostileFileTests.Random(state: UInt64(limit))
    var expected: [String: [[Int32]]] = [:]
    let need = configuration.byteCount(tokens: 8, words: 0) * 2 + 800
    let total = Self.operationCount
    var early: Figures?
    var most = 0
    for operation in 0..<total {
      let name = "d\(Int.random(in: 0..<60, using: &random))"
      switch Int.random(in: 0..<100, using: &random) {
      case ..<60:
        let chunks = (0..<Int.random(in: 1...2, using: &random)).map { _ in
          Fixture.tokens(Int.random(in: 0..<500, using: &random))
        }
        if limit > 0, !writer.hasRoom(for: need) {
          for old in try writer.makeRoom(for: need, keeping: name) { expected[old] = nil }
        }
        try writer.add(document: name, chunks, replacing: true)
        expected[name] = chunks
      case ..<80:
        if expected.removeValue(forKey: name) != nil { try writer.removeDocument(named: name) }
      case ..<88:
        // So few that there is always something to evict.
        if expected[name] != nil { try writer.pinDocument(named: name, name < "d2") }
      case ..<94: try writer.commit()
      case ..<97: _ = try writer.collectGarbage(.wasteful)
      case ..<98: _ = try writer.collectGarbage(.all)
      case ..<99: _ = try writer.collectGarbage(.compact)
      default:
        // Another process goes on.
        try writer.commit()
        writer = try Self.reopened(consume writer, workplace.store)
      }
      if operation % 500 == 499 {
        try writer.commit()
        let found = try StoreWork.documents(workplace.store)
        #expect(found == expected, "operation \(operation)")
      }
      if operation == total / 5 {
        _ = try writer.collectGarbage(.all)
        early = try Figures(workplace)
      }
      if limit > 0 || operation % 50 == 0 { most = max(most, try TreeStoreWriter.measure(workplace.store)) }
    }
    _ = try writer.collectGarbage(.all)
    let (first, last) = (try #require(early), try Figures(workplace))
    if total > 10_000 { print("soak of \(total) operations, limit \(limit): \(first); then \(last); most \(most)") }
    #expect(last.descriptorCount <= first.descriptorCount + 8, "\(first); \(last)")
    #expect(last.diskByteCount < 2 * first.diskByteCount + 50_000, "\(first); \(last)")
    // Other tests of this process run beside it, unless it is for long.
    if total > 10_000 { #expect(last.privateByteCount < first.privateByteCount + 8 << 20, "\(first); \(last)") }
    if limit > 0 { #expect(most <= limit) }
    try TreeStore(opening: workplace.store).verify()
  }

  /// The lock goes with the old writer.
  private static func reopened(_ writer: consuming TreeStoreWriter, _ path: String) throws -> TreeStoreWriter {
    _ = consume writer
    return try TreeStoreWriter(opening: path, creating: nil)
  }
}
