public import ArgumentParser
import FileAccess
public import SharedPack

extension TextEncoding: ExpressibleByArgument {}

/// How the characters of text files are written, as an option.
struct TextEncodingArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How the characters of texts are written: auto (UTF-8, or UTF-16 with a byte order mark), utf-8, utf-16, utf-16le, utf-16be, latin-1 or windows-1252.",
      valueName: "encoding"))
  var encoding = TextEncoding.automatic

  /// A refusal with the option that would have prevented it.
  func explained(_ refusal: Refusal) -> Refusal {
    guard let found = TextEncoding(namedBy: refusal) else { return refusal }
    return Refusal(
      refusal.name, file: refusal.file, structure: refusal.structure,
      "\(refusal.fault); --encoding \(found.rawValue) reads it")
  }
}
