import Glibc
public import Templates

extension TemplateDate {
  /// The machine's local time.
  public static var now: TemplateDate {
    var seconds = unsafe time(nil)
    var local = tm()
    _ = unsafe localtime_r(&seconds, &local)
    return TemplateDate(
      year: Int(local.tm_year) + 1900, month: Int(local.tm_mon) + 1, day: Int(local.tm_mday), hour: Int(local.tm_hour),
      minute: Int(local.tm_min), second: Int(local.tm_sec))
  }
}
