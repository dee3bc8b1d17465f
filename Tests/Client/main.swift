// A client of the library, which `Tools/client-check` builds as a package of its own with the strictest settings:
// `import SharedPack` is enough to name and use every type of the library's interface.

import SharedPack

/// A condition that does not hold.
struct Failure: Error {
  let description: String
}

func require(_ condition: Bool, _ description: String) throws(Failure) {
  if !condition { throw Failure(description: description) }
}

let arguments = CommandLine.arguments
let (checkpoint, book, directory) = (arguments[1], arguments[2], arguments[3])
let (path, library) = ("\(directory)/model.spk", "\(directory)/library")

// Models and packs.
var conversionOptions = ModelConversion.Options()
conversionOptions.encoding = TensorEncoding.int8(groupSize: 64)
conversionOptions.licence = "as the checkpoint's"
let conversion = try ModelConversion(directory: checkpoint, options: conversionOptions)
let plan: ConversionPlan = conversion.plan
let made: ConversionSummary = try conversion.run(output: path) { progress in
  if progress.done == progress.total { print("converted \(progress.total) bytes of \(progress.step)") }
}
try require(made.packByteCount == plan.packByteCount, "a pack has the size that was planned")
let model = try LanguageModel(opening: path, threadCount: 2, memoryLimit: 1 << 32)
let pack: ModelPack = model.pack
let configuration: LlamaConfiguration = model.configuration
let tensor: PackTensor? = pack.tensor(named: "model.norm.weight")
let reading: SharedLLMConfiguration? = pack.sharedLLM
let sources: [PackProvenance.Source] = pack.provenance.sources
try require(pack.identity == made.identity && !sources.isEmpty, "a pack tells what it was made of")
try require(tensor?.columns == configuration.hiddenSize && tensor?.encoding == .float32, "tensors are described")
try require(model.fitsInMemory && model.window <= configuration.maxPositionCount, "a model tells its window")

// Documents and stores, as the README has it; the second time everything is there.
let answers = [
  try await answer("Sir Henry looked at", about: book, model: path, library: library),
  try await answer("Sir Henry looked at", about: book, model: path, library: library),
]
try require(answers[0] == answers[1] && !answers[0].isEmpty, "a store answers alike")
let store = try DocumentStore(opening: library, model: model)
let documents: [StoredDocument] = try store.store.documents()
let statistics: StoreStatistics = try store.store.statistics()
let form: TreeStoreConfiguration = store.store.configuration
let chunks: DocumentChunks = try store.store.chunks(of: documents[0])
let keys: [ChunkKey] = chunks.keys
let digest: Digest256 = documents[0].textDigest
try require(statistics.documents == 1 && keys.count == statistics.chunks, "a store is counted")
try require(form.modelIdentity == pack.identity && form.rowEncoding == .int8, "a store has one model")
try require(digest.description.count == 64, "texts have digests")

// Asking and searching.
let document: ContextDocument = try store.document(named: "book")
let chunk: ContextChunk = document.chunks[0]
let tree: ContextTree = chunk.tree
let node: TreeNode = tree.nodes[0]
try require(try chunk.embedding(of: node).count == configuration.hiddenSize, "nodes have embeddings")
let expansion = TreeExpansion.bestNodes(rows: 0.5)
let search = TreeSearch(SearchPolicy.bm25, expansion: expansion)
let tokenizer: Tokenizer? = model.tokenizer
let prompt = try model.textPrompt("Sir Henry")
try require(try model.text(of: prompt) == tokenizer?.decode(prompt), "tokens are text")
let selections: [ContextSelection] = [
  try model.select(from: [document], search: search, query: prompt),
  try model.select(from: [document]) { chunk, node in Float(chunk + node.level) },
]
try require(selections[0].rowCount < selections[1].rowCount, "half of the rows are fewer")

// Generation and sampling.
var options = GenerationOptions(maxTokens: 4, stopStrings: ["never said"], ignoresEndOfText: true)
options.sampling = SamplingOptions(temperature: 0.7, topK: 40, seed: 7)
options.cachePolicy = CachePolicy.streaming(sinks: 4, recent: 60)
let response: Response = try await model.generate(prompt, context: selections[0], options: options).collect()
try require(response.summary.tokens.count == 4 && response.summary.finishReason == .maxTokens, "answers end")
let messages: [ChatMessage] = [.system("Be short."), .user("Who is it?"), .assistant("Sir Henry."), .user("Why?")]
let template: ChatTemplate? = model.chatTemplate

// Errors.
do throws(Refusal) {
  print(try model.chatPrompt(messages, now: TemplateDate.now).count, "tokens of \(template?.source ?? "no template")")
} catch {
  let status: ExitStatus = error.name.exitStatus
  try require(error.name == .noChatTemplate && status == .badInput && error.file == path, "\(error)")
}

// Maintenance.
try DocumentStore.removeDocuments(named: ["book"], from: library)
let garbage: GarbageReport = try DocumentStore.collectGarbage(in: library)
try require(garbage.removedChunks == statistics.uniqueChunks, "what no document needs is removed")
try require(try model.select(from: [document], query: prompt).rowCount > 0, "an open document outlives its removal")
switch try Artifact(opening: library) {
case .treeStore(let store): try require(store.documents().isEmpty, "the store is empty")
case .modelPack, .segment: throw Failure(description: "a store is a store")
}
let verification: Artifact.Verification = try Artifact(opening: path).verify()
try require(verification.kind == .modelPack, "a pack is whole")
print("client: done, \(reading.map { "\($0.injectedLayerCount) injected layers" } ?? "a plain model")")
