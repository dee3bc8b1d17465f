/// The status with which a command ends, after sysexits(3).
public enum ExitStatus: Int32, Sendable {
  case usage = 64
  case badInput = 65
  case missing = 66
  case cannotCreate = 73
  case inputOutput = 74
  case tryAgain = 75
}

/// Something outside this process is wrong: a file, a directory, the machine.
///
/// One flat type for every module. Each module adds its own names (`extension Refusal.Name`), and `Formats/` lists the
/// names that each structure can be refused with. The description is one line: file, structure, fault, name.
public struct Refusal: Error, Sendable, CustomStringConvertible {
  /// The stable name of a fault and the exit status that goes with it.
  public struct Name: Hashable, Sendable {
    public let text: String
    public let exitStatus: ExitStatus

    public init(_ text: String, _ exitStatus: ExitStatus) {
      self.text = text
      self.exitStatus = exitStatus
    }
  }

  public let name: Name
  /// The file as the caller named it.
  public let file: String
  /// The part of the file at fault, such as `tensor index, entry 3`. Empty when it is the file as a whole.
  public let structure: String
  /// The argument at fault, by its name in the library's interface, such as `groupSize`; nil when no argument is. A
  /// program calls it what its user does.
  public let parameter: String?
  public let fault: String

  public init(_ name: Name, file: String, structure: String = "", parameter: String? = nil, _ fault: String) {
    self.name = name
    self.file = file
    self.structure = structure
    self.parameter = parameter
    self.fault = fault
  }

  public var description: String {
    let file = file.isEmpty ? "\"\"" : file
    let location = [file, structure, parameter ?? ""].filter { !$0.isEmpty }.joined(separator: ": ")
    return "\(location): \(fault) [\(name.text)]"
  }
}

extension Refusal.Name {
  public static let missingFile = Refusal.Name("missing-file", .missing)
  public static let notARegularFile = Refusal.Name("not-a-regular-file", .badInput)
  public static let notADirectory = Refusal.Name("not-a-directory", .badInput)
  public static let permissionDenied = Refusal.Name("permission-denied", .inputOutput)
  public static let cannotCreate = Refusal.Name("cannot-create", .cannotCreate)
  public static let alreadyExists = Refusal.Name("already-exists", .cannotCreate)
  public static let noSpace = Refusal.Name("no-space", .inputOutput)
  /// The file system has no such operation.
  public static let notSupported = Refusal.Name("not-supported", .inputOutput)
  public static let inputOutput = Refusal.Name("input-output", .inputOutput)
  public static let busy = Refusal.Name("busy", .tryAgain)
  public static let noThread = Refusal.Name("no-thread", .tryAgain)
  public static let truncated = Refusal.Name("truncated", .badInput)
  public static let malformedJSON = Refusal.Name("malformed-json", .badInput)
  // Refusals that model packs and tree stores share.
  public static let newerVersion = Refusal.Name("newer-version", .badInput)
  public static let unknownFeature = Refusal.Name("unknown-feature", .badInput)
  public static let wrongLength = Refusal.Name("wrong-length", .badInput)
  public static let digestMismatch = Refusal.Name("digest-mismatch", .badInput)
}
