import ContextTrees
import FaultInjection
import FileAccess
import Glibc
import LlamaRuntime
import ModelPacks
import Testing
import TreeStore

@testable import SharedPack

/// What is encoded, what is not encoded again, and what a build that ends early leaves.
@Suite struct StoreBuilderTests {
  let scratch: Scratch
  let model: LanguageModel

  init() throws {
    scratch = try Scratch()
    model = try TinyModel().open(in: scratch)
  }

  private var store: String { "\(scratch.path)/store" }

  private func source(_ text: String, name: String = "text") throws(Refusal) -> DocumentSource {
    DocumentSource(name: name, path: try scratch.write(text, to: "\(name).txt"))
  }

  private func add(
    _ source: DocumentSource, replacing: Bool = false, commitInterval: Duration = .seconds(60), to path: String? = nil
  ) throws(Refusal) -> StoreBuilder.Report {
    var builder = try StoreBuilder(opening: path ?? store, model: model)
    builder.commitInterval = commitInterval
    return try builder.add(source, replacing: replacing)
  }

  private func tokens(_ text: String) throws -> [Int32] {
    try model.documentTokens(Array(text.utf8), file: "text")
  }

  @Test func secondBuildEncodesNothing() throws {
    let source = try source(Texts.first)
    let all = try tokens(Texts.first)
    let count = all.count
    let first = try add(source)
    #expect(first.outcome == .added)
    #expect(first.tokenCount == count)
    #expect(first.encodedTokenCount == count)
    let shape = try #require(model.runtime.treeShape)
    #expect(first.chunkCount == model.chunks(of: all, shape: shape, borders: .sentences).count)
    let second = try add(source)
    #expect(second.outcome == .unchanged)
    #expect(second.encodedTokenCount == 0)
    // The same text under another name costs a name.
    let third = try add(DocumentSource(name: "copy", path: source.path))
    #expect(third.outcome == .added)
    #expect(third.encodedTokenCount == 0)
    let statistics = try TreeStore(opening: store).statistics()
    #expect(statistics.documents == 2)
    #expect(statistics.uniqueChunks == first.chunkCount)
  }

  @Test func replacingNeedsTheFlag() throws {
    _ = try add(try source(Texts.first))
    // Only the last chunk differs.
    let changed = try source(Texts.first + " the end")
    #expect(refusal { _ = try add(changed) }?.name.text == "document-exists")
    let generation = try TreeStore(opening: store).generation
    let report = try add(changed, replacing: true)
    #expect(report.outcome == .replaced)
    #expect(report.encodedTokenCount < 2 * TinyModel.chunkSize)
    #expect(report.encodedTokenCount > 0)
    let opened = try DocumentStore(opening: store, model: model)
    #expect(opened.store.generation == generation + 1)
    #expect(try opened.document(named: "text").chunks.flatMap(\.tokens) == tokens(Texts.first + " the end"))
  }

  /// Chunks end where sentences do, so those after a change are soon the same again.
  @Test func changedTextsShareChunks() throws {
    let sentences = (0..<400).map { "\($0 * 7919 % 1000)." }
    let before = try add(try source(sentences.joined(separator: " ")))
    let after = try add(try source((["new"] + sentences).joined(separator: " "), name: "changed"))
    #expect(after.tokenCount > before.tokenCount)
    #expect(after.encodedTokenCount < before.tokenCount / 4)
    var fixed = try StoreBuilder(opening: "\(scratch.path)/fixed", model: model, borders: .fixed)
    for text in [sentences, ["new"] + sentences] {
      let source = try source(text.joined(separator: " "))
      let report = try fixed.add(source, replacing: true)
      #expect(report.encodedTokenCount > before.tokenCount / 2)
      #expect(report.chunkCount == (report.tokenCount + TinyModel.chunkSize - 1) / TinyModel.chunkSize)
    }
  }

  /// Every third system call fails once, at every point of a build: what was committed is not encoded again, and the
  /// document is the one of an undisturbed build.
  @Test func interruptedBuildsGoOn() throws {
    let source = try source(Texts.first)
    let all = try tokens(Texts.first)
    let undisturbed = FaultSchedule()
    _ = try FileOperation.withProbe(undisturbed) { () throws(Refusal) in
      try add(source, commitInterval: .zero, to: "\(scratch.path)/undisturbed")
    }
    #expect(undisturbed.operations.count > 20)
    var resumed = 0
    for failing in stride(from: 1, to: undisturbed.operations.count, by: 3) {
      let path = "\(scratch.path)/interrupted-\(failing)"
      var failure: Refusal?
      FileOperation.withProbe(FaultSchedule(.before(EIO), at: failing)) {
        do throws(Refusal) { _ = try add(source, commitInterval: .zero, to: path) } catch { failure = error }
      }
      // The removal of an old manifest may fail without harm.
      if let failure { #expect([.inputOutput, .cannotCreate, .writerFailed].contains(failure.name), "\(failure)") }
      let (missing, isNamed) = try left(of: all, in: path)
      let report = try add(source, to: path)
      #expect(report.encodedTokenCount == missing)
      #expect((report.outcome == .unchanged) == isNamed)
      if missing > 0, missing < all.count { resumed += 1 }
      let store = try DocumentStore(opening: path, model: model)
      try store.store.verify { _, _ in }
      #expect(try store.document(named: "text").chunks.flatMap(\.tokens) == all)
    }
    // Some builds ended between their first chunk and their last.
    #expect(resumed > 2)
  }

  /// Tokens of chunks that the next writer does not find, and whether it finds the document: it takes up what a commit
  /// has left that lacked its last steps only.
  private func left(of tokens: [Int32], in path: String) throws -> (missing: Int, isNamed: Bool) {
    let shape = try #require(model.runtime.treeShape)
    do throws(Refusal) {
      let writer = try TreeStoreWriter(opening: path, creating: nil)
      var missing = 0
      for range in model.chunks(of: tokens, shape: shape, borders: .sentences) {
        let chunk = Array(tokens[range])
        if !writer.contains(writer.configuration.chunkKey(tokens: chunk)) { missing += chunk.count }
      }
      return (missing, try writer.document(named: "text") != nil)
    } catch {
      return (tokens.count, false)
    }
  }

  /// A text whose task is cancelled while its second chunk is reported.
  private func cancelledAtSecondChunk(
    _ work: @escaping @Sendable (_ progress: (_ done: Int) -> Void) throws -> Void
  ) async -> (found: Refusal?, seen: [Int]) {
    await Task {
      var seen: [Int] = []
      let found = refusal {
        try work { done in
          seen.append(done)
          if seen.count == 2 { unsafe withUnsafeCurrentTask { unsafe $0?.cancel() } }
        }
      }
      return (found, seen)
    }.value
  }

  @Test func cancelledEncodingEndsWithItsChunk() async throws {
    let all = try tokens(Texts.first)
    let model = model
    let (found, seen) = await cancelledAtSecondChunk { progress in
      _ = try model.encode(all, named: "text", borders: .fixed) { done, total in
        #expect(total == all.count)
        progress(done)
      }
    }
    #expect(found?.name == .cancelled)
    #expect(found?.file == "text")
    #expect(seen == [TinyModel.chunkSize, 2 * TinyModel.chunkSize])
  }

  /// A cancelled build stops after its chunk, adds no document, and leaves nothing but what was committed.
  @Test(arguments: [false, true])
  func cancelledBuildsEndWithTheirChunk(commitsEveryChunk: Bool) async throws {
    let source = try source(Texts.first)
    let all = try tokens(Texts.first)
    let (path, model) = (store, model)
    let (found, seen) = await cancelledAtSecondChunk { progress in
      var builder = try StoreBuilder(opening: path, model: model)
      if commitsEveryChunk { builder.commitInterval = .zero }
      _ = try builder.add(source) { done, _, _ in progress(done) }
    }
    #expect(found?.name == .cancelled)
    #expect(found?.file == source.path)
    #expect(seen.count == 2)
    let done = try #require(seen.last)
    #expect(done < all.count)
    let left = try TreeStore(opening: path)
    #expect(try left.documents().isEmpty)
    #expect(try left.statistics().uniqueChunks == (commitsEveryChunk ? 2 : 0))
    #expect(try Directory.names(in: "\(path)/segments").count == (commitsEveryChunk ? 2 : 0))
    #expect(try !Directory.names(in: path).contains { $0.hasSuffix(".partial") })
    // The next build resumes where this one stopped.
    #expect(try add(source).encodedTokenCount == (commitsEveryChunk ? all.count - done : all.count))
  }

  /// Of several documents all are removed or none, and open readers are not disturbed.
  @Test func documentsAreRemoved() throws {
    let first = try source(Texts.first, name: "first")
    _ = try add(first)
    _ = try add(try source(Texts.second, name: "second"))
    let opened = try DocumentStore(opening: store, model: model)
    let found = refusal { try DocumentStore.removeDocuments(named: ["first", "nobody"], from: store) }
    #expect(found?.name == .missingDocument)
    #expect(try TreeStore(opening: store).generation == opened.store.generation)
    try DocumentStore.removeDocuments(named: ["first", "second"], from: store)
    #expect(try TreeStore(opening: store).documents().isEmpty)
    let report = try DocumentStore.collectGarbage(in: store)
    #expect(report.removedChunks > 0)
    #expect(report.freedByteCount > 0)
    #expect(try Directory.names(in: "\(store)/segments").isEmpty)
    #expect(try opened.document(named: "first").chunks.flatMap(\.tokens) == tokens(Texts.first))
  }

  /// The bytes that a build will take, as printed beforehand.
  @Test func sizesArePredicted() throws {
    let source = try source(Texts.first)
    let plan = try StoreBuilder.plan([source], model: model)
    #expect(Directory.exists(store) == nil)
    _ = try add(source)
    let statistics = try TreeStore(opening: store).statistics()
    #expect(plan.documentCount == 1)
    #expect(plan.tokenCount == statistics.tokens)
    #expect(plan.byteCount > statistics.storedBlockByteCount)
    #expect(plan.byteCount <= statistics.liveByteCount)
    #expect(try StoreBuilder.plan([], model: model) == StoreBuilder.Plan())
  }

  @Test func plainModelsBuildNoTrees() throws {
    let plain = try TinyModel(injection: .none).open(in: scratch)
    #expect(
      refusal { _ = try StoreBuilder(opening: store, model: plain, encoding: .int8) }?.name.text == "no-injection")
    #expect(Directory.exists(store) == nil)
    let found = refusal { _ = try plain.encode([3, 4], named: "text") }
    #expect(found?.name.text == "no-injection")
    #expect(found?.file == plain.pack.path)
  }

  @Test func textsThatAreNotTextAreRefused() throws {
    for (bytes, name) in [([0x61, 0xFF], "not-text"), ([0x61, 0], "not-text"), ([], "empty-document")]
      as [([UInt8], String)]
    {
      let source = DocumentSource(name: "text", path: try scratch.write(bytes, to: "text.bin"))
      #expect(refusal { _ = try add(source) }?.name.text == name)
    }
    let missing = DocumentSource(name: "text", path: "\(scratch.path)/nowhere")
    #expect(refusal { _ = try add(missing) }?.name.text == "missing-file")
  }
}
