import ContextTrees
import FileAccess
import Glibc
import Synchronization
import Testing

@testable import TreeStore

/// Readers beside a writer, and threads that share a store.
@Suite struct ConcurrencyTests {
  /// Readers open whatever generation is the newest while a writer adds, removes and collects garbage: each sees a
  /// whole one, and generations do not go back.
  @Test func readersBesideAWriter() async throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    let path = workplace.store
    _ = try TreeStoreWriter(opening: path, creating: configuration)
    let done = Flag()
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<3 {
        group.addTask { try await Self.readUntil(done, path) }
      }
      var writer = try TreeStoreWriter(opening: path, creating: nil, segmentByteLimit: 3_000)
      for round in 0..<60 {
        try writer.add(document: "d\(round % 5)", [Fixture.tokens(round), Fixture.tokens(round + 1)], replacing: true)
        try writer.commit()
        if round % 4 == 3 { _ = try writer.collectGarbage() }
        await Task.yield()
      }
      done.raise()
      for try await generation in group { #expect(generation > 1) }
    }
    #expect(try TreeStore(opening: path).documents().count == 5)
  }

  /// Two writers that add, replace, remove, collect and merge, and eight readers of whatever generation is the newest, in
  /// one process. SHAREDPACK_CROWD says for how many seconds, and SHAREDPACK_CROWD_STORE where the store is, which may be
  /// what a killed process left.
  @Test func crowd() async throws {
    func setting(_ name: String) -> String? { unsafe getenv(name).map { unsafe String(cString: $0) } }
    let workplace = try Workplace.inMemory()
    let path = setting("SHAREDPACK_CROWD_STORE") ?? workplace.store
    let end = ContinuousClock.now + .seconds(setting("SHAREDPACK_CROWD").flatMap(Double.init) ?? 1)
    let configuration = try Fixture.configuration()
    _ = try TreeStoreWriter(opening: path, creating: configuration)
    let done = Flag()
    let written = try await withThrowingTaskGroup(of: Void.self) { readers in
      for _ in 0..<8 { readers.addTask { _ = try await Self.readUntil(done, path) } }
      let written = try await withThrowingTaskGroup(of: [String: [[Int32]]].self) { writers in
        for number in 0..<2 { writers.addTask { try await Self.write(number, until: end, path) } }
        return try await writers.reduce(into: [:]) { $0.merge($1) { $1 } }
      }
      done.raise()
      try await readers.waitForAll()
      return written
    }
    #expect(try StoreWork.documents(path) == written)
  }

  /// Changes the documents that begin with a writer's number; another writer has turns in between.
  /// - Returns: what is in the store of them.
  private static func write(
    _ number: Int, until end: ContinuousClock.Instant, _ path: String
  ) async throws -> [String: [[Int32]]] {
    var random = HostileFileTests.Random(state: UInt64.random(in: .min ... .max))
    func own() async throws -> [String: [[Int32]]] {
      while true {
        do throws(Refusal) {
          return try StoreWork.documents(path).filter { $0.key.hasPrefix("\(number)-") }
        } catch {
          guard error.name == .busy else { throw error }
        }
        await Task.yield()
      }
    }
    var expected = try await own()
    while ContinuousClock.now < end {
      do throws(Refusal) {
        var writer = try TreeStoreWriter(opening: path, creating: nil, segmentByteLimit: 3_000)
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          let name = "\(number)-\(Int.random(in: 0..<12, using: &random))"
          if Int.random(in: 0..<4, using: &random) > 0 {
            let chunks = (0..<2).map { _ in Fixture.tokens(Int.random(in: 0..<40, using: &random)) }
            try writer.add(document: name, chunks, replacing: true)
            expected[name] = chunks
          } else if expected.removeValue(forKey: name) != nil {
            try writer.removeDocument(named: name)
          }
        }
        try writer.commit()
        switch Int.random(in: 0..<8, using: &random) {
        case 0: _ = try writer.collectGarbage()
        case 1: _ = try writer.collectGarbage(.all)
        case 2: _ = try writer.collectGarbage(.compact)
        default: break
        }
      } catch {
        guard error.name == .busy else { throw error }
      }
      await Task.yield()
    }
    let found = try await own()
    #expect(found == expected)
    return expected
  }

  /// - Returns: the last generation that was read.
  private static func readUntil(_ done: Flag, _ path: String) async throws -> Int {
    var generation = 0
    repeat {
      let store = try TreeStore(opening: path)
      #expect(store.generation >= generation)
      generation = store.generation
      try store.verify { _, _ in }
      for document in try store.documents() {
        for key in try store.chunks(of: document).keys { #expect(try store.chunk(key) != nil) }
      }
      await Task.yield()
    } while !done.isRaised
    return generation
  }

  /// Many threads check and read the same blocks at once.
  @Test func sharedStore() async throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration(chunkSize: 64, depth: 4, headDim: 16)
    let tokens = (0..<6).map { Fixture.tokens($0, count: 60 + $0 % 5) }
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
      try writer.add(document: "a", tokens)
      try writer.commit()
    }
    let store = try TreeStore(opening: workplace.store)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<8 {
        group.addTask {
          for tokens in number % 2 == 0 ? tokens : tokens.reversed() {
            let chunk = try #require(try store.chunk(store.chunkKey(tokens: tokens)))
            try expectEqual(chunk, Fixture.chunk(tokens, configuration), size: 3)
          }
        }
      }
      try await group.waitForAll()
    }
  }
}

private final class Flag: Sendable {
  private let value = Atomic(false)

  var isRaised: Bool { value.load(ordering: .acquiring) }

  func raise() { value.store(true, ordering: .releasing) }
}
