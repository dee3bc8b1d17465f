import CanonicalJSON
import ContextTrees
import FileAccess
import NodeBlocks
import SharedPack
import TreeStore

/// A description of a store.
enum StoreDescription {
  static func text(_ store: TreeStore) throws(Refusal) -> String {
    let configuration = store.configuration
    let statistics = try store.statistics()
    return """
      store       \(store.path), generation \(store.generation)
      model       \(configuration.modelIdentity)
      reading     \(reading(configuration))
      rows        \(rows(configuration))
      documents   \(statistics.documents), \(statistics.tokens) tokens\
      \(statistics.keptTexts == 0 ? "" : "; texts of \(statistics.keptTexts) kept in \(Format.bytes(statistics.keptTextByteCount))")
      chunks      \(statistics.uniqueChunks) stored for \(statistics.chunks) in documents
      segments    \(statistics.segments), \(Format.bytes(statistics.totalByteCount))\
      \(statistics.unreadableSegments == 0 ? "" : ", \(statistics.unreadableSegments) of them unreadable")
      catalog     \(Format.count(statistics.tables, "table")), \(Format.bytes(statistics.catalogByteCount))\
      \(statistics.unknownFiles == 0 ? "" : "; \(Format.count(statistics.unknownFiles, "file")) that no generation knows")
      live        \(Format.bytes(statistics.liveByteCount)), \
      \(Format.bytes(statistics.deadByteCount)) to free
      blocks      \(Format.rounded(statistics.compression * 100))% of their uncompressed size
      """
  }

  static func json(_ store: TreeStore) throws(Refusal) -> JSONValue {
    let configuration = store.configuration
    let statistics = try store.statistics()
    var members = [
      JSONValue.Member("path", .string(store.path)), JSONValue.Member("generation", .integer(store.generation)),
    ]
    if case .object(let form) = configuration.json { members += form }
    let counts: KeyValuePairs = [
      "documents": statistics.documents, "tokens": statistics.tokens, "chunks": statistics.chunks,
      "unique_chunks": statistics.uniqueChunks, "segments": statistics.segments,
      "unreadable_segments": statistics.unreadableSegments, "bytes": statistics.totalByteCount,
      "catalog_tables": statistics.tables, "catalog_bytes": statistics.catalogByteCount,
      "kept_texts": statistics.keptTexts, "kept_text_bytes": statistics.keptTextByteCount,
      "unknown_files": statistics.unknownFiles, "byte_limit": statistics.byteLimit,
      "live_bytes": statistics.liveByteCount, "dead_bytes": statistics.deadByteCount,
    ]
    members += counts.map { JSONValue.Member($0.key, .integer($0.value)) }
    return .object(members)
  }

  private static func reading(_ configuration: TreeStoreConfiguration) -> String {
    switch configuration.form {
    case .tree(let form):
      "trees of chunks of \(form.shape.chunkSize) tokens, depth \(form.shape.depth), leaf ratio \(form.shape.leafRatio)"
    case .text(let form):
      "\(form.manner), in chunks of \(form.chunkSize) tokens behind a frame of \(form.frame.opening.count)"
    }
  }

  private static func rows(_ configuration: TreeStoreConfiguration) -> String {
    let kept = configuration.text.map { "\($0.keptText) kept, " } ?? ""
    let heads = configuration.heads
    return "\(configuration.rowEncoding), \(kept)\(heads.layers) layers, \(heads.kvHeads) heads of \(heads.headDim)"
  }
}
