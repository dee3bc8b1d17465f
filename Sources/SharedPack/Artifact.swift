public import FileAccess
public import ModelPacks
public import TreeStore

/// An opened file or directory: a model pack, a tree store, or one segment of a store.
public enum Artifact: Sendable {
  /// A model pack.
  case modelPack(ModelPack)
  /// The newest generation of a tree store.
  case treeStore(TreeStore)
  /// The description of a segment's file, wherever the file is.
  case segment(SegmentInspection)

  /// Opens a pack, store or segment: a file is recognized by its first bytes, and a directory must be a store.
  /// - Throws: `Refusal` `missing-file`, `unknown-file`, and those of packs and stores.
  public init(opening path: String) throws(Refusal) {
    switch Directory.exists(path) {
    case nil: throw Refusal(.missingFile, file: path, "does not exist")
    case .directory: self = .treeStore(try TreeStore(opening: path))
    default:
      let file = try MappedFile(path)
      let start = file.bytes.extracting(first: 8).array
      if start == ModelPack.magic {
        self = .modelPack(try ModelPack(opening: path))
      } else if start == Segment.magic {
        self = .segment(try Segment.inspect(path))
      } else {
        throw Refusal(.unknownFile, file: path, "is neither a model pack nor a segment of a tree store")
      }
    }
  }

  /// The result of a verification that found no fault.
  public struct Verification: Sendable, Hashable {
    /// The kinds of artifact that can be verified.
    public enum Kind: String, Sendable, Hashable {
      /// A model pack.
      case modelPack = "model-pack"
      /// A tree store.
      case treeStore = "tree-store"
      /// One segment of a tree store.
      case segment = "tree-store-segment"
    }

    /// As the caller named it.
    public let path: String
    /// The kind of artifact.
    public let kind: Kind
    /// Bytes of the pack, of the store's newest generation or of the segment.
    public let byteCount: Int
    /// The pack's identity, the store's generation or the segment's SHA-256.
    public let identity: String
  }

  /// Reads and checks every byte.
  /// - Parameter progress: bytes done and bytes in total; called from time to time, from any thread, but one at a
  ///   time.
  /// - Throws: `Refusal` for the first fault.
  public func verify(
    progress: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> Verification {
    switch self {
    case .modelPack(let pack):
      try pack.verify { progress($0, pack.byteCount) }
      return Verification(
        path: pack.path, kind: .modelPack, byteCount: pack.byteCount, identity: pack.identity.description)
    case .treeStore(let store):
      try store.verify(progress: progress)
      return Verification(
        path: store.path, kind: .treeStore, byteCount: store.totalByteCount,
        identity: "generation \(store.generation)")
    case .segment(let segment):
      let digest = try Segment.verify(segment.path, progress: progress)
      return Verification(
        path: segment.path, kind: .segment, byteCount: segment.byteCount, identity: digest.description)
    }
  }
}

extension Refusal.Name {
  /// A file is neither a model pack nor part of a tree store.
  public static let unknownFile = Refusal.Name("unknown-file", .badInput)
}
