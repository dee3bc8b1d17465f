import ContextTrees
import FileAccess
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
