public import FileAccess

/// How the texts are found that paths name: files, folders with all that is in and below them, patterns, and `-` for
/// standard input.
///
/// A folder is read once, however many links lead to it. Hidden files of folders are left out, and so are stores, model
/// packs, pipes, sockets and devices.
public struct DocumentSearch: Sendable {
  /// The directory that names of documents start from; nil: the current one.
  public var root: String?
  /// How the characters of the files are written.
  public var encoding = TextEncoding.automatic
  /// What standard input holds.
  public var standardInputForm = DocumentSource.Form.text
  /// What a text from standard input is called.
  public var standardInputName = "stdin"
  /// A store that is left out even if it is not there yet.
  public var store: String?

  /// A search from the current directory.
  public init() {}

  /// What paths name.
  public struct Found: Sendable {
    /// The texts, in the order of the paths, by ascending name in each.
    public var sources: [DocumentSource] = []
    /// What is wrong with files and folders that have no source.
    public var faults: [Refusal] = []
    /// What is in folders and is no text.
    public var skipped: [Skipped] = []
  }

  /// Something in a folder that is not read.
  public struct Skipped: Sendable, Hashable {
    /// Why it is not read.
    public enum Reason: Sendable, Hashable {
      /// A pipe would have to be waited for.
      case pipe
      /// A socket has no text.
      case socket
      /// A device has no end.
      case device
      /// A store of documents, with all that is in it.
      case store
      /// A model pack.
      case modelPack
      /// A link to a folder that is read under another path.
      case repeated(as: String)
    }

    /// Where it is.
    public var path: String
    /// Why it is not read.
    public var reason: Reason
  }

  /// Finds the texts. Files are not opened but for packs.
  /// - Throws: `Refusal` when the current directory cannot be seen. What is wrong with a path is among the faults:
  ///   `missing-file`, `permission-denied`, `name-not-utf8`, `duplicate-name`, `empty-document` when there are no files.
  public func find(_ paths: [String]) throws(Refusal) -> Found {
    var walk = DocumentWalk(self, naming: DocumentNaming(current: try Directory.current(), base: root))
    for path in paths { walk.add(path) }
    if walk.found.sources.isEmpty, walk.found.faults.isEmpty {
      walk.found.faults.append(
        Refusal(.emptyDocument, file: paths.joined(separator: ", "), "no files to store"))
    }
    return walk.found
  }
}

extension Refusal.Name {
  /// The name of a file is not UTF-8.
  public static let nameNotUTF8 = Refusal.Name("name-not-utf8", .badInput)
}
