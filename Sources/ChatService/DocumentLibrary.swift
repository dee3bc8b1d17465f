import FileAccess
import Glibc
public import SharedPack
import Synchronization

/// The documents of a server: a store for all or, with keys, one for each key and one that all of them may read.
///
/// Stores are opened again when they have changed, and have one writer at a time: others wait their turn.
public final class DocumentLibrary: Sendable {
  /// Where stores are.
  public let path: String
  /// Whether each key has a store of its own: the folders of ``path`` are stores then.
  public let isByKey: Bool
  let model: LanguageModel
  private let open = Mutex<[String: Opened]>([:])
  private let writing = BlockingWork("documents", isSerial: true)
  private let waiting = Atomic(0)

  private struct Opened {
    var store: DocumentStore
    /// When the directory had last changed.
    var time: [Int]
  }

  /// The folder of the store that every key may read, and none may write.
  public static let sharedFolder = "shared"
  /// Writers that may wait for their turn.
  private static let waitingLimit = 16

  /// - Parameters:
  ///   - path: of a store or, with keys, of a folder of stores.
  ///   - isByKey: whether each key has a store of its own.
  ///   - model: reads the documents.
  /// - Throws: `Refusal` `usage` when what is there is of the other kind, and those of stores that cannot be opened.
  public init(_ path: String, isByKey: Bool, model: LanguageModel) throws(Refusal) {
    self.path = path
    self.isByKey = isByKey
    self.model = model
    if isByKey {
      if Self.isStore(path) {
        throw Refusal(
          Refusal.Name("store-of-all", .usage), file: path,
          "is a store; with keys it has to be a folder of stores: what all keys may read belongs in \(path)/"
            + Self.sharedFolder)
      }
      try Directory.create(path, mode: 0o700)
      if Directory.exists("\(path)/\(Self.sharedFolder)") != nil { _ = try store(Self.sharedFolder) }
    } else if Directory.exists(path) != nil {
      _ = try store("")
    }
  }

  private static func isStore(_ path: String) -> Bool {
    Directory.exists(path) != nil && (try? TreeStore(opening: path)) != nil
  }

  /// The store that a caller writes to.
  private func ownPath(_ caller: Caller) -> String { isByKey ? "\(path)/key-\(caller.scope)" : path }

  /// The stores that a caller may read, its own first.
  func stores(of caller: Caller) throws(Refusal) -> [DocumentStore] {
    var stores: [DocumentStore] = []
    for folder in isByKey ? ["key-\(caller.scope)", Self.sharedFolder] : [""] {
      if let store = try store(folder) { stores.append(store) }
    }
    return stores
  }

  /// The newest generation of a store.
  /// - Parameter folder: in the library; empty for the library itself.
  /// - Returns: nil when there is none yet.
  private func store(_ folder: String) throws(Refusal) -> DocumentStore? {
    let path = folder.isEmpty ? path : "\(path)/\(folder)"
    guard let time = Self.changeTime(path) else {
      open.withLock { $0[folder] = nil }
      return nil
    }
    // Every commit changes the directory. One that comes while a store is opened is noticed the next time.
    if let opened = open.withLock({ $0[folder] }), opened.time == time { return opened.store }
    let store = try DocumentStore(opening: path, model: model)
    open.withLock { $0[folder] = Opened(store: store, time: time) }
    return store
  }

  /// - Returns: nil where nothing is.
  private static func changeTime(_ path: String) -> [Int]? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    return [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, Int(bitPattern: UInt(status.st_ino))]
  }

  // MARK: Writing

  /// What happens while a text is added.
  public enum Event: Sendable {
    /// Others are written first.
    case waiting
    /// Tokens that are done, and all.
    case progress(done: Int, of: Int)
    /// The text is stored.
    case added(StoreBuilder.Report)
  }

  /// Reads a text and stores it in the caller's store.
  /// - Parameters:
  ///   - name: of the document. It names no file.
  ///   - text: UTF-8.
  ///   - replacing: whether another text may be there under the name.
  ///   - caller: whose it is.
  /// - Throws: `RequestFault` when too many wait. The events end with ``Event/added(_:)``, or throw a `RequestFault`;
  ///   leaving their loop ends the work, and what was read of the text stays for the next attempt.
  public func add(
    _ name: String, text: [UInt8], replacing: Bool, for caller: Caller
  ) throws(RequestFault) -> AsyncThrowingStream<Event, any Error> {
    guard waiting.add(1, ordering: .relaxed).newValue <= Self.waitingLimit else {
      waiting.subtract(1, ordering: .relaxed)
      throw RequestFault(429, "rate_limit_exceeded", retryAfter: 30, "too many documents wait to be read")
    }
    let path = ownPath(caller)
    let document = DocumentText(name: name, text: text, place: "document \"\(name)\"")
    return AsyncThrowingStream { continuation in
      continuation.yield(.waiting)
      let task = Task {
        defer { waiting.subtract(1, ordering: .relaxed) }
        do {
          let report = try await writing.run { [model] in
            try Refusal.requireRunning()
            var builder = try StoreBuilder(opening: path, model: model)
            builder.keepsTexts = true
            return try builder.add(document, replacing: replacing) { done, _, total in
              continuation.yield(.progress(done: done, of: total))
            }
          }
          continuation.yield(.added(report))
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  /// Removes a document of the caller's own, with all that is left of it in the store's files.
  /// - Throws: `RequestFault` 404 when the caller has none of that name.
  public func remove(_ name: String, for caller: Caller) async throws {
    let path = ownPath(caller)
    guard Directory.exists(path) != nil else {
      throw RequestFault(404, "document_not_found", field: "name", "there is no document of this name")
    }
    _ = try await writing.run { try DocumentStore.removeDocuments(named: [name], from: path, forgetting: true) }
  }

  /// The documents that a caller may ask about.
  func documents(of caller: Caller) throws(Refusal) -> [ListedDocument] {
    var documents: [ListedDocument] = []
    var names: Set<String> = []
    for store in try stores(of: caller) {
      let isShared = isByKey && store.store.path.hasSuffix("/\(Self.sharedFolder)")
      for document in try store.store.documents() where names.insert(document.name).inserted {
        documents.append(ListedDocument(document: document, isShared: isShared))
      }
    }
    return documents
  }
}

/// A document that can be asked about.
struct ListedDocument: Sendable {
  var document: StoredDocument
  /// Whether it is there for every key.
  var isShared: Bool
}

extension Refusal {
  /// - Throws: `Refusal` `cancelled`.
  fileprivate static func requireRunning() throws(Refusal) {
    if Task.isCancelled { throw Refusal(.cancelled, file: "document", "nobody waits for it any more") }
  }
}
