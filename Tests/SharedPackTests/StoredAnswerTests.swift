import ContextTrees
import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import SharedPack
import Testing
import TreeStore

/// What a document answers does not depend on where its trees come from: a store or an encoder, to the last bit.
@Suite struct StoredAnswerTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Builds a store of both texts.
  private func store(
    _ model: LanguageModel, _ encoding: RowEncoding = .int8, _ compression: Compression = .none
  ) throws -> String {
    let path = "\(scratch.path)/store-\(UInt64.random(in: .min ... .max))"
    var builder = try StoreBuilder(opening: path, model: model, encoding: encoding, compression: compression)
    for (name, text) in [("first", Texts.first), ("second", Texts.second)] {
      let source = DocumentSource(name: name, path: try scratch.write(text, to: "\(name).txt"))
      #expect(try builder.add(source).outcome == .added)
    }
    return path
  }

  private func fresh(_ model: LanguageModel, _ text: String, _ encoding: RowEncoding = .int8) throws -> ContextDocument
  {
    try model.encode(
      try model.documentTokens(Array(text.utf8), file: "fresh"), named: "fresh", encoding: encoding)
  }

  /// Logits of a text and the tokens of an answer.
  private func answer(
    _ model: LanguageModel, _ documents: [ContextDocument], search: TreeSearch = .standard
  ) async throws -> (logits: [Float], tokens: [Int32], nodes: [[TreeNode]]) {
    let prompt = try model.textPrompt("what did the hen eat in the barn")
    let selection = try model.select(from: documents, search: search, query: prompt)
    let session = Session(
      model.runtime, capacity: prompt.count, context: selection.context)
    let response = try await model.generate(
      prompt, context: selection, options: GenerationOptions(maxTokens: 24, ignoresEndOfText: true)
    ).collect()
    #expect(response.summary.contextRows == selection.rowCount)
    #expect(response.summary.contextChunks == documents.reduce(0) { $0 + $1.chunks.count })
    return (session.readAll(prompt), response.summary.tokens, selection.nodes)
  }

  static let searches =
    [SearchPolicy.right, .left, .random(seed: 3), .cosine, .dot, .distance, .centred, .bm25].map { TreeSearch($0) }
    + [TreeExpansion.both(share: 0.5), .none(share: 0.5), .bestFirst, .bestNodes(rows: 1.5)].map {
      TreeSearch(.cosine, expansion: $0)
    }

  @Test(arguments: RowEncoding.allCases, Compression.allCases)
  func storedTreesAnswerLikeFreshOnes(_ encoding: RowEncoding, _ compression: Compression) async throws {
    let model = try TinyModel().open(in: scratch)
    let opened = try DocumentStore(opening: try store(model, encoding, compression), model: model)
    let texts = try [fresh(model, Texts.first, encoding), fresh(model, Texts.second, encoding)]
    let stored = try [opened.document(named: "first"), opened.document(named: "second")]
    #expect(stored.map(\.tokenCount) == texts.map(\.tokenCount))
    for search in Self.searches {
      let expected = try await answer(model, texts, search: search)
      let actual = try await answer(model, stored, search: search)
      #expect(actual == expected)
      #expect(!expected.logits.contains { !$0.isFinite })
    }
  }

  /// A store keeps the states of an encoder, and answers as the encoder does.
  @Test(arguments: RowEncoding.allCases)
  func storedStatesAnswerLikeFreshOnes(_ encoding: RowEncoding) async throws {
    let model = try TinyModel(injection: .encoder).open(in: scratch)
    let path = try store(model, encoding)
    let opened = try DocumentStore(opening: path, model: model)
    let texts = try [fresh(model, Texts.first, encoding), fresh(model, Texts.second, encoding)]
    let stored = try [opened.document(named: "first"), opened.document(named: "second")]
    for search in [TreeSearch.standard, TreeSearch(.bm25)] {
      let expected = try await answer(model, texts, search: search)
      #expect(try await answer(model, stored, search: search) == expected)
      // All states of all chunks are read.
      #expect(
        expected.nodes.map { $0.reduce(0) { $0 + $1.range.count } } == stored.flatMap(\.chunks).map(\.tokens.count))
    }
    try TreeStore(opening: path).verify()
    // States are kept, not the keys and values that layers make of them.
    let layout = try model.requireTrees(encoding).layout
    #expect(layout.layerCount == 1 && 2 * layout.kvHeadCount * layout.headDim == TinyModel.encoderSize)
    // The best chunks alone, where rows are limited.
    let limited = TreeSearch(.bm25, expansion: .bestFirst, rowLimit: 2 * TinyModel.chunkSize)
    let query = try model.textPrompt("what did the hen eat in the barn")
    let selection = try model.select(from: stored, search: limited, query: query)
    #expect(
      (1...2 * TinyModel.chunkSize).contains(selection.rowCount) && selection.context?.rowCount == selection.rowCount)
  }

  /// Whatever the model, the search reaches the leaf with the one word of the question that occurs nowhere else.
  @Test func wordsAreFound() throws {
    let model = try TinyModel().open(in: scratch)
    let documents = try [fresh(model, Texts.first), fresh(model, Texts.second)]
    let chunks = documents.flatMap(\.chunks)
    let all = chunks.flatMap(\.tokens)
    let rare = Set(all.filter { token in all.count { $0 == token } == 1 })
    #expect(!rare.isEmpty)
    for token in rare {
      let selection = try model.select(from: documents, search: TreeSearch(.bm25), query: [token])
      let number = try #require(chunks.firstIndex { $0.tokens.contains(token) })
      let index = try #require(chunks[number].tokens.firstIndex(of: token))
      let node = try #require(selection.nodes[number].first { $0.range.contains(index) })
      #expect(node.level == chunks[number].tree.shape.depth)
    }
  }

  @Test func untrainedInjectionAnswersFromStores() async throws {
    let model = try TinyModel(injection: .untrained).open(in: scratch)
    #expect(model.injectionIsUntrained)
    let opened = try DocumentStore(opening: try store(model), model: model)
    let expected = try await answer(model, [fresh(model, Texts.first)])
    let actual = try await answer(model, [opened.document(named: "first")])
    #expect(actual == expected)
  }

  /// The order of documents is the caller's, and counts where chunks have positions.
  @Test func documentsKeepTheirOrder() async throws {
    let model = try TinyModel().open(in: scratch)
    let opened = try DocumentStore(opening: try store(model), model: model)
    let (first, second) = (try opened.document(named: "first"), try opened.document(named: "second"))
    let forward = try await answer(model, [first, second])
    let backward = try await answer(model, [second, first])
    let expected = try await answer(model, [fresh(model, Texts.second), fresh(model, Texts.first)])
    #expect(backward == expected)
    #expect(forward.logits != backward.logits)
    #expect(
      forward.nodes == Array(backward.nodes.dropFirst(second.chunks.count) + backward.nodes.prefix(second.chunks.count))
    )
  }

  @Test func runsAndThreadsChangeNoBit() async throws {
    let path = try TinyModel().pack(in: scratch)
    let models = try [1, 2, 3].map { try LanguageModel(opening: path, threadCount: $0) }
    let directory = try store(models[0])
    // Which threads encoded the store changes nothing either: other threads find every chunk there.
    for model in models {
      var builder = try StoreBuilder(opening: directory, model: model)
      let source = DocumentSource(name: "again \(model.threadCount)", path: "\(scratch.path)/first.txt")
      #expect(try builder.add(source).encodedTokenCount == 0)
    }
    let expected = try await answer(models[0], [fresh(models[0], Texts.first)])
    for model in models + models {
      let stored = try DocumentStore(opening: directory, model: model).document(named: "first")
      #expect(try await answer(model, [stored]) == expected)
      #expect(try await answer(model, [fresh(model, Texts.first)]) == expected)
    }
  }

  /// A model is known by its weights: the same file name and the same shape open no other model's store.
  @Test func storesOfAnotherModelAreRefused() throws {
    let model = try TinyModel().open(in: scratch)
    let other = try TinyModel(seed: 1).open(in: scratch)
    #expect(Directory.split(model.pack.path).name == Directory.split(other.pack.path).name)
    let directory = try store(model)
    #expect(refusal { _ = try DocumentStore(opening: directory, model: other) }?.name.text == "model-mismatch")
    #expect(refusal { _ = try StoreBuilder(opening: directory, model: other) }?.name.text == "model-mismatch")
    // The same checkpoint converted again is the same model.
    let again = try TinyModel().open(in: scratch)
    #expect(again.pack.path != model.pack.path)
    #expect(try DocumentStore(opening: directory, model: again).store.documents().count == 2)
    #expect(
      refusal { _ = try StoreBuilder(opening: directory, model: model, encoding: .float16) }?.name.text
        == "configuration-mismatch")
  }

  /// A document is one model's: rows of another one of the same shape would be read as its own.
  @Test func documentsOfAnotherModelAreRefused() throws {
    let model = try TinyModel().open(in: scratch)
    let other = try TinyModel(seed: 1).open(in: scratch)
    let own = try fresh(model, Texts.first)
    let stored = try DocumentStore(opening: try store(other), model: other).document(named: "second")
    #expect(stored.modelIdentity == other.pack.identity)
    for document in [try fresh(other, Texts.second), stored] {
      for documents in [[document], [own, document], [document, own]] {
        let found = refusal { _ = try model.select(from: documents, query: [1]) }
        #expect(found?.name == .modelMismatch)
        #expect(found?.file == document.name)
      }
      let byScore = refusal { _ = try model.select(from: [document]) { _, _ in 0 } }
      #expect(byScore?.name == .modelMismatch)
      _ = try other.select(from: [document], query: [1])
    }
    // The same pack, read in another way, has other rows.
    var reading = try #require(model.pack.sharedLLM)
    reading.positionMode = .replace
    let runtime = try #require(LlamaModel(model.pack, reading: reading))
    #expect(runtime.rowNumerics != model.runtime.rowNumerics)
    let found = refusal { _ = try LanguageModel(runtime).select(from: [own], query: [1]) }
    #expect(found?.name == .configurationMismatch)
    #expect(found?.fault.contains("row numerics") == true)
  }

  @Test func cancelledSelectionsEnd() async throws {
    let model = try TinyModel().open(in: scratch)
    let document = try fresh(model, Texts.first)
    let found = await Task {
      unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
      return refusal { _ = try model.select(from: [document], query: [1]) }
    }.value
    #expect(found?.name == .cancelled)
  }

  @Test func documentsOfDifferentFormsAreRefused() throws {
    let model = try TinyModel().open(in: scratch)
    let documents = try [fresh(model, Texts.first), fresh(model, Texts.second, .float16)]
    let found = refusal { _ = try model.select(from: documents, search: TreeSearch(.right), query: [1]) }
    #expect(found?.name.text == "configuration-mismatch")
    #expect(
      refusal { _ = try model.select(from: [], search: TreeSearch(.right), query: [1]) }?.name.text == "empty-document")
    let plain = try TinyModel(injection: .none).open(in: scratch)
    #expect(
      refusal { _ = try plain.select(from: documents, search: TreeSearch(.right), query: [1]) }?.name.text
        == "no-injection")
  }

  /// A bit that has changed in a node's rows is found and located before the rows are used.
  @Test func damagedBlocksAreReported() throws {
    let model = try TinyModel().open(in: scratch)
    let directory = try store(model)
    let document = try fresh(model, Texts.first)
    let node = try #require(document.chunks[0].tree.nodes.first)
    // As it is stored: without padding.
    let whole = try document.chunks[0].block(of: node)
    let dense = BlockGeometry.node(whole.layout, rowCount: whole.rowCount).dense(whole.storage)
    let block = unsafe Array(try #require(dense).unsafeBytes)
    var found = 0
    for name in try Directory.names(in: "\(directory)/segments") {
      let path = "\(directory)/segments/\(name)"
      var bytes = try SequentialFile.contents(path, limit: 1 << 24)
      guard let range = bytes.firstRange(of: block) else { continue }
      found += 1
      bytes[range.lowerBound + 3] ^= 4
      try Scratch.write(bytes, path: path)
    }
    #expect(found == 1)

    let opened = try DocumentStore(opening: directory, model: model)
    let stored = try opened.document(named: "first")
    // Node 0 is kept when the right child is expanded.
    let refusal = refusal { _ = try model.select(from: [stored], search: TreeSearch(.right), query: [1]) }
    #expect(refusal?.name.text == "checksum-mismatch")
    #expect(refusal?.file.hasSuffix(".seg") == true)
    #expect(refusal?.structure.hasPrefix("chunk ") == true)
    #expect(refusal?.structure.hasSuffix("node 0") == true)
    // It is refused every time, not only the first.
    #expect(throws: Refusal.self) { _ = try stored.chunks[0].block(of: node) }
    // What does not need the block is served.
    _ = try model.select(from: [try opened.document(named: "second")], search: TreeSearch(.right), query: [1])
  }
}

extension NodeBlock {
  var copy: [UInt8] { storage.bytes.array }
}
